"""The training of all layers in docs/training.md, in PyTorch: what another engine reaches with the same
weights, pictures, crops, batches and rates.

finetune.py DATA WEIGHTS [EPOCHS [THREADS]]

DATA has the folders train and test with a folder of pictures per class, WEIGHTS is torchvision's
mobilenet_v2 checkpoint. Needs torch and torchvision. Prints loss and seconds per epoch, and in the end the
accuracy on the test pictures.
"""

import math
import sys
import time

import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

SIZE, BATCH, RATE, MOMENTUM, DECAY, SMOOTHING, WARM_UP = 96, 32, 6e-3, 0.9, 5e-4, 0.1, 0.05


def pictures(folder, *changes):
    norm = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return ImageFolder(folder, transforms.Compose([*changes, transforms.ToTensor(), norm]))


def rate(step, steps):
    warm = int(WARM_UP * steps)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def accuracy(net, test):
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in DataLoader(test, 100):
            right += (net(x.to(memory_format=torch.channels_last)).argmax(1) == y).sum().item()
    return right / len(test)


def main():
    data, weights = sys.argv[1:3]
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 14
    torch.set_num_threads(int(sys.argv[4]) if len(sys.argv) > 4 else 2)
    torch.manual_seed(1)
    crop = transforms.RandomResizedCrop(SIZE, scale=(0.8, 1.0))
    train = pictures(f"{data}/train", crop, transforms.RandomHorizontalFlip())
    test = pictures(f"{data}/test", transforms.Resize((SIZE, SIZE)))
    net = torchvision.models.mobilenet_v2()
    net.load_state_dict(torch.load(weights))
    net.classifier[1] = torch.nn.Linear(1280, len(train.classes))
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    batches = DataLoader(train, BATCH, shuffle=True)
    steps = len(batches) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    start = time.time()
    for epoch in range(epochs):
        net.train()
        total = 0
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_of(net(x.to(memory_format=torch.channels_last)), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(y)
        print(f"epoch {epoch + 1}: loss {total / len(train):.4f}, {time.time() - start:.0f} s", flush=True)
    print(f"accuracy {100 * accuracy(net, test):.1f}%")


main()
