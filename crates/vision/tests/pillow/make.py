"""Writes the files beside it: noise, resized by Pillow (13.0, NumPy needed too).

For some sizes that narrow the picture less than they lower it, Pillow 13 filters the rows first;
none of these is among them.
"""
import pathlib
import numpy as np
from PIL import Image

here = pathlib.Path(__file__).parent
state, noise = 1, []
for _ in range(43 * 61 * 3):
    state = (state * 1664525 + 1013904223) % 2**32
    noise.append(state >> 24)
picture = Image.fromarray(np.array(noise, np.uint8).reshape(43, 61, 3))
filters = dict(bilinear=Image.BILINEAR, bicubic=Image.BICUBIC, lanczos3=Image.LANCZOS)
for name, how in filters.items():
    for w, h in [(23, 17), (40, 90), (61, 50)]:
        (here / f"{name}_{h}x{w}.rgb").write_bytes(picture.resize((w, h), how).tobytes())
