#!/usr/bin/env python3
"""Evaluates torchvision's networks with minim and with PyTorch, on the same random weights and images, and compares the logits.

usage: benchmarks/compare/run.sh logits [--models resnet-50,alexnet] [--images N] [--program FILE]

Weights go to minim as a safetensors file of PyTorch's state_dict, images as PNG files. In FP32 the logits may differ by the order of
sums. In mixed precision minim's may be as far from PyTorch's FP32 as PyTorch's own are when weights and the output of every layer are
rounded to FP16, twice over, since both are random. Ends with 1 where that does not hold.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import load_file, save_file
from torchvision.io import write_png

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NAMES = {"resnet-50": "resnet50", "alexnet": "alexnet", "vgg-d": "vgg16", "resnet-18": "resnet18", "resnet-34": "resnet34",
         "resnet-101": "resnet101", "inception-v3": "inception_v3"}
CLASSES = 10
PIXELS, INCEPTION_PIXELS = 224, 299
# Relative to the largest logit: FP32's unit roundoff times the square root of the longest sums, with room for a hundred layers of them.
FP32_BOUND = 100 * 2**-24 * 8192**0.5
MEAN, DEVIATION = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def make_images(directory, count, pixels):
    """PNG files that minim does not have to resize, and what is left of them after the crop, as PyTorch gets it."""
    whole = pixels * 256 // 224
    margin = (whole - pixels) // 2
    images = []
    for i in range(count):
        coarse = torch.rand(1, 3, 8, 8)
        image = torch.nn.functional.interpolate(coarse, size=(whole, whole), mode="bicubic")[0].clamp(0, 1)
        image = (image * 255).round().to(torch.uint8)
        for split in ("train", "val"):
            place = directory / split / f"class{i % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            write_png(image, str(place / f"{i:04}.png"))
        images.append((i % CLASSES, i, image[:, margin:margin + pixels, margin:margin + pixels]))
    images.sort(key=lambda entry: entry[:2])  # as minim numbers them: by class, then by name
    return torch.stack([(image / 255 - MEAN) / DEVIATION for _, _, image in images])


def make_network(name, images):
    """Random weights, with the running statistics that go with them."""
    network = getattr(torchvision.models, NAMES[name])(num_classes=CLASSES, **({"init_weights": True} if name == "inception-v3" else {}))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    with torch.no_grad():
        network.train()(images)
    return network.eval()


def rounded_to_half(network):
    """The same network with weights and the output of every layer rounded to FP16."""
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            for parameter in module.parameters():
                parameter.data = parameter.data.half().float()
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _inputs, output: output.half().float())
    return network


def minim_logits(program, directory, weights, model, precision, pixels):
    output = directory / f"{precision}.safetensors"
    command = [program, "eval", weights, "--model", model, "--dataset", "image-folder", "--data", directory / "images", "--image-size",
               str(pixels), "--precision", precision, "--batch", "8", "--device", "cpu", "--logits", output]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return load_file(output)["logits"]


def compare(program, model, count):
    torch.manual_seed(1)
    pixels = INCEPTION_PIXELS if model == "inception-v3" else PIXELS
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        images = make_images(directory / "images", count, pixels)
        network = make_network(model, images)
        weights = directory / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
        with torch.no_grad():
            wanted = network(images)
        single, half = (minim_logits(program, directory, weights, model, precision, pixels) for precision in ("fp32", "mixed"))
        with torch.no_grad():
            rounded = rounded_to_half(network)(images.half().float())
    largest = wanted.abs().max().item()
    errors = [(logits - wanted).abs().max().item() / largest for logits in (single, half, rounded)]
    holds = errors[0] <= FP32_BOUND and errors[1] <= 2 * errors[2]
    agree = (half.argmax(1) == wanted.argmax(1)).float().mean().item()
    print(f"{model:12}  fp32 {errors[0]:.1e}  mixed {errors[1]:.1e}  PyTorch rounded to FP16 {errors[2]:.1e}  same class {agree:.0%}  "
          f"{'holds' if holds else 'DOES NOT HOLD'}", flush=True)
    return holds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="resnet-50,alexnet,vgg-d")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--program", default=ROOT / "build/release/launcher/minim")
    arguments = parser.parse_args()
    if arguments.images < CLASSES:
        parser.error(f"--images {arguments.images}: at least one of each of {CLASSES} classes is wanted")
    print("Largest difference from PyTorch's FP32 logits, relative to the largest logit:")
    sys.exit(0 if all([compare(arguments.program, model, arguments.images) for model in arguments.models.split(",")]) else 1)


if __name__ == "__main__":
    main()
