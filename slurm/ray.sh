
# verl on several nodes: one Ray cluster over all of them; ray.init finds it by RAY_ADDRESS.
ray_steps=()
# shellcheck disable=SC2317 # called by the trap
end_ray() {
  if [ "${#ray_steps[@]}" -gt 0 ]; then
    kill -TERM "${ray_steps[@]}" 2>/dev/null
    wait "${ray_steps[@]}" 2>/dev/null
  fi
}
start_ray() {
  local nodes head address port cpus ray step others
  mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  head=${nodes[0]}
  # This script runs on the first node; Ray knows best which address the others can reach.
  address=$("${python[@]}" -c 'import ray; print(ray.util.get_node_ip_address())') || return 1
  # Slurm gives a step one processor unless it asks for the job's.
  step=(srun --overlap "--cpus-per-task=$SLURM_CPUS_ON_NODE")
  port=$((20000 + SLURM_JOB_ID % 10000))
  # Only this job can use the cluster: without its token nothing can run on its nodes.
  RAY_AUTH_TOKEN=$("${python[@]}" -c 'import secrets; print(secrets.token_hex(32))') || return 1
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
  # Logical processors: verl's helpers ask for more than a small node has.
  cpus=$((SLURM_CPUS_ON_NODE > 16 ? SLURM_CPUS_ON_NODE : 16))
  ray=("${python[@]}" -m ray.scripts.scripts start --block --disable-usage-stats "--num-cpus=$cpus" "--num-gpus=${SLURM_GPUS_ON_NODE:-1}")
  echo "ray head on $head ($address:$port)"
  "${step[@]}" --nodes=1 --ntasks=1 --nodelist="$head" \
    "${ray[@]}" --head "--node-ip-address=$address" "--port=$port" --include-dashboard=false &
  ray_steps+=("$!")
  "${python[@]}" -m "$ray_nodes" "$address:$port" 1 "$ray_seconds" || return 1
  others=$((${#nodes[@]} - 1))
  "${step[@]}" --nodes="$others" --ntasks="$others" --exclude="$head" \
    "${ray[@]}" "--address=$address:$port" &
  ray_steps+=("$!")
  "${python[@]}" -m "$ray_nodes" "$address:$port" "${#nodes[@]}" "$ray_seconds" || return 1
  export RAY_ADDRESS="$address:$port"
}
trap end_ray EXIT
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ] && ! start_ray; then
  echo "error: Ray did not come up on $SLURM_JOB_NODELIST" >&2
  record end 1
  exit 1
fi
