# One task of an array: line SLURM_ARRAY_TASK_ID of the manifest, one attempt.
attempt=${SLURM_RESTART_COUNT:-0}
task="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
IFS=$'\t' read -r cell run_dir overrides < <(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$submission/manifest.tsv")
if [ -z "$run_dir" ]; then
  echo "error: no line $((SLURM_ARRAY_TASK_ID + 1)) in $submission/manifest.tsv" >&2
  exit 1
fi
mkdir -p "$submission/logs/$cell" "$submission/attempts"
exec >>"$submission/logs/$cell/$job.$task.$attempt.log" 2>&1
echo "$cell: $job, task $task, attempt $attempt, on $(hostname), $(date)"
record() {
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$SLURM_ARRAY_JOB_ID" "$attempt" "$(date +%s)" "$2" "$(hostname)" \
    >>"$submission/attempts/$cell.$job.tsv"
}
record start -

# USR1 comes before the time limit: save and continue later. TERM means that Slurm ends or moves
# the job: save, and leave the rest to Slurm.
run=
ending=no
requeue=no
# shellcheck disable=SC2317 # called by the traps
end_run() {
  ending=yes
  if [ -n "$run" ]; then kill -TERM "$run" 2>/dev/null; fi
}
trap 'requeue=yes; end_run' USR1
trap 'end_run' TERM INT

wait_for() {
  # A signal ends `wait` early, so wait again for the exit code of the process itself.
  while kill -0 "$1" 2>/dev/null; do wait "$1"; done
  wait "$1"
}
