
code=75
if [ "$ending" = no ]; then
  declare -a arguments
  eval "arguments=($overrides)"
  "${python[@]}" -m rlvr_dynamics.run "${arguments[@]}" "run_dir=$run_dir" "stages=$stages" &
  run=$!
  # A signal sent between the start of the run and this line has not reached it.
  if [ "$ending" = yes ]; then kill -TERM "$run" 2>/dev/null; fi
  wait_for "$run"
  code=$?
fi
record end "$code"
echo "exit code $code, $(date)"
if [ "$code" -eq 75 ] && [ "$requeue" = yes ]; then
  if [ "$attempt" -ge "$max_requeues" ]; then
    echo "not requeued again: this was attempt $attempt of at most $max_requeues (max_requeues)"
  else
    echo "requeued before the time limit"
    scontrol requeue "$task"
  fi
fi
exit "$code"
