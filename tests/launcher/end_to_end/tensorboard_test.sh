# Files of events are read by TensorBoard itself: bash tensorboard_test.sh MINIM MPIEXEC PYTHON.
. "$(dirname "$0")/harness.sh"
python=$3
check=$(dirname "$0")/../check_events.py

options=(--dataset synthetic --samples 128 --batch 16 --steps 12 --log-every 1 --checkpoint-every 8 --tensorboard on --eval-every 1)
expect 0 train.log ranks 2 train "${options[@]}" --output run
expect 0 export.log "$minim" export run run/weights.safetensors --dtype fp32
expect 0 check.log "$python" "$check" run 1

# A run that was killed after step 12 and goes on from step 8 does four steps again, which TensorBoard shows once.
cp -r run again
rm -r again/checkpoints/step-00000012
expect 0 resume.log ranks 2 train --resume --output again
same_run run again
expect 0 check.log "$python" "$check" again 2
# Even when the file before was cut off in the middle of a record.
cp -r run torn
rm -r torn/checkpoints/step-00000012
for file in torn/events.out.tfevents.*; do truncate --size=-20 "$file"; done
expect 0 resume.log ranks 2 train --resume --output torn
expect 0 export.log "$minim" export torn torn/weights.safetensors --dtype fp32
expect 0 check.log "$python" "$check" torn 2

expect 0 plain.log ranks 1 train "${options[@]}" --tensorboard off --output plain
[ -z "$(ls plain | grep tfevents)" ] || fail "events that nobody has asked for"
