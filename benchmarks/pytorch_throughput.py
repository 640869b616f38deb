#!/usr/bin/env python3
"""Prints how many images/s PyTorch trains on one GPU, for gpu_check.sh. usage: pytorch_throughput.py MODEL PRECISION BATCH

MODEL is resnet-18 or resnet-50 on 224 x 224 pixels with 1000 classes; PRECISION fp32 (without TF32), mixed or bf16 (autocast). A batch
that lies on the GPU is used again and again, so that no loading is measured.
"""
import sys
import time

import torch
import torchvision

model, precision, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
network = getattr(torchvision.models, model.replace("-", ""))().cuda().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
scaler = torch.amp.GradScaler("cuda", enabled=precision == "mixed")
dtype = {"mixed": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
images = torch.randn(batch, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
labels = torch.randint(1000, (batch,), device="cuda")


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=dtype, enabled=precision != "fp32"):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


for _ in range(30):
    step()
torch.cuda.synchronize()
start = time.perf_counter()
for _ in range(10):
    step()
torch.cuda.synchronize()
print(round(10 * batch / (time.perf_counter() - start)))
