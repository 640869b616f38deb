# A tree of JPEG and PNG images: two ranks train on it, go on at three, and are evaluated; damaged and missing images are named.
. "$(dirname "$0")/harness.sh"

# Stripes of 16 x 16 pixels, across as a PNG, upright as a PNG and as a JPEG.
across=iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAGElEQVR42mMUYUAFTAwkCzA+o4IZg8QdACLTAhGasSWTAAAAAElFTkSuQmCC
upright=iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAGklEQVR42mMUYWBguMTAwKAHpZkY0MDIEgAABhgCBiTuiRUAAAAASUVORK5CYII=
upright_jpeg=/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/wAALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAH/xAAYEAACAwAAAAAAAAAAAAAAAAAABkSCwv/aAAgBAQAAPwCKsqmgqyqaCrKpoKsqmj//2Q==
for split in train val; do
  mkdir -p photos/$split/across photos/$split/upright
  for i in 1 2 3 4 5 6; do
    base64 -d <<<"$across" >photos/$split/across/$i.png
    base64 -d <<<"$upright" >photos/$split/upright/$i.png
    base64 -d <<<"$upright_jpeg" >photos/$split/upright/$i.jpg
  done
done

# 18 images make 3 steps of an epoch.
data=(--dataset image-folder --data photos --image-size 16)
options=("${data[@]}" --schedule constant --lr 0.01 --log-every 1)
expect 0 whole.log ranks 2 train "${options[@]}" --batch 3 --steps 40 --output whole
expect 0 begun.log ranks 2 train "${options[@]}" --batch 3 --steps 19 --output parts
expect 0 resumed.log ranks 2 train --resume --output parts --steps 40
"$minim" export parts parts.safetensors >exported.log && "$minim" export whole whole.safetensors >>exported.log
cmp parts.safetensors whole.safetensors || fail "a run in two parts ends elsewhere than one in one"
expect 0 three.log ranks 3 train --resume --output whole --batch 2 --steps 42
expect 0 eval.log ranks 2 eval whole
contains eval.log "accuracy 100.00 %, 18 images"
as_planned begun.log "${data[@]:0:2}" "${data[@]:4:2}" --classes 2 --samples 18 --schedule constant --batch 3 --steps 19 --ranks 2

# What is decoded once may be kept.
expect 0 cached.log ranks 2 train "${options[@]}" --batch 3 --steps 40 --cache-decoded 1 --output cached
"$minim" export cached cached.safetensors >>exported.log
cmp parts.safetensors cached.safetensors || fail "a cache of decoded images changes them"
expect 0 cache.log "$minim" plan "${data[@]:0:2}" "${data[@]:4:2}" --cache-decoded 1000000
grep -qE "^staging +976\.[0-9]+ GiB" cache.log || fail "the cache is no part of the plan"
expect 2 cache.log "$minim" train "${data[@]}" --cache-decoded 1000000000 --output none
contains cache.log "--cache-decoded 1000000000 is too much"

# The same images as WebDataset's shards, in the same order.
for split in train val; do
  mkdir -p shards/$split
  for i in 1 2 3 4 5 6; do
    cp photos/$split/across/$i.png shards/$split/a$i.png
    cp photos/$split/upright/$i.jpg shards/$split/u${i}a.jpg
    cp photos/$split/upright/$i.png shards/$split/u${i}b.png
    echo 0 >shards/$split/a$i.cls
    echo 1 | tee shards/$split/u${i}a.cls >shards/$split/u${i}b.cls
  done
  tar --sort=name --format=pax -C shards/$split -cf shards/$split-0.tar .
done
expect 0 shards.log ranks 2 train "${options[@]}" --dataset webdataset --data shards --batch 3 --steps 40 --output shards/run
"$minim" export shards/run shards.safetensors >>exported.log
cmp parts.safetensors shards.safetensors || fail "shards train otherwise than the folder of the same images"
truncate -s 9000 shards/val-0.tar
expect 2 shard.log "$minim" eval shards/run
contains shard.log "shards/val-0.tar: offset "

expect 2 described.log "$minim" train "${data[@]}" --classes 2 --output none
contains described.log "--classes and --samples describe synthetic data; image-folder brings its own"
expect 2 channels.log "$minim" train "${data[@]}" --channels 2 --output none
contains channels.log "wanted at least 1 x 1 of 1 or 3"

truncate -s 150 photos/train/upright/3.jpg
expect 2 damaged.log ranks 2 train "${options[@]}" --batch 3 --epochs 1 --output none
contains damaged.log "photos/train/upright/3.jpg: JPEG: "
[ "$(grep -c '^minim: ' damaged.log)" -eq 1 ] || fail "not exactly one sentence"
echo none >photos/val/across/0.png
expect 2 text.log "$minim" eval whole
contains text.log "photos/val/across/0.png: offset 0: found 6e 6f 6e 65"
