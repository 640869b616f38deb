#!/usr/bin/env python3
"""Times training steps of PyTorch. usage: pytorch_steps.py MODEL PRECISION BATCH [--device cpu|cuda] [--steps N] [--warm-up N]

MODEL is a network of minim's zoo that torchvision has too (lenet is written down here), on 224 x 224 pixels (inception-v3 299, lenet 28)
with 1000 classes (lenet 10); PRECISION fp32 (without TF32), mixed or bf16 (autocast). A batch that lies on the device is used again and
again, so that no loading is measured. Channels last. Prints images/s of each step, one a line; on a GPU that of all.
"""
import argparse
import time

import torch
import torchvision

NAMES = {"vgg-d": "vgg16", "inception-v3": "inception_v3"}


class Lenet(torch.nn.Module):
    """minim's: model/src/zoo/lenet.cpp."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        for convolution in (self.conv1, self.conv2):
            x = torch.nn.functional.max_pool2d(torch.relu(convolution(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


def build(model):
    if model == "lenet":
        return Lenet(), (1, 28, 28), 10
    options = {"init_weights": True} if model == "inception-v3" else {}
    pixels = 299 if model == "inception-v3" else 224
    return getattr(torchvision.models, NAMES.get(model, model.replace("-", "")))(**options), (3, pixels, pixels), 1000


def loss_of(output, labels):
    loss = torch.nn.functional.cross_entropy
    if hasattr(output, "aux_logits"):
        return loss(output.logits, labels) + 0.4 * loss(output.aux_logits, labels)
    return loss(output, labels)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("precision", choices=["fp32", "mixed", "bf16"])
    parser.add_argument("batch", type=int)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    arguments = parser.parse_args()
    device, cuda = arguments.device, arguments.device == "cuda"

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    network, shape, classes = build(arguments.model)
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4, **({} if cuda else {"foreach": True}))
    scaler = torch.amp.GradScaler(device, enabled=arguments.precision == "mixed")
    dtype = {"mixed": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[arguments.precision]
    images = torch.randn(arguments.batch, *shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (arguments.batch,), device=device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=dtype, enabled=arguments.precision != "fp32"):
            loss = loss_of(network(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    for _ in range(arguments.warm_up):
        step()
    if cuda:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(arguments.steps):
            step()
        torch.cuda.synchronize()
        print(arguments.steps * arguments.batch / (time.perf_counter() - start))
        return
    for _ in range(arguments.steps):
        start = time.perf_counter()
        step()
        print(arguments.batch / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
