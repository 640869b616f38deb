# A rank may compute with several threads; what they need was planned.
. "$(dirname "$0")/harness.sh"

short=(--model resnet-18 --width 8 --dataset synthetic --samples 32 --batch 8 --steps 2 --threads 2)
expect 0 short.log ranks 1 train "${short[@]}" --output short
as_planned short.log "${short[@]}"
