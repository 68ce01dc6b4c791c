"""What Keras computes of one input.

    python keras_worker.py MODEL INPUT OUTPUT N,H,W,C

INPUT has little-endian f32; OUTPUT gets those of the model's first output.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

model, source, target, dims = sys.argv[1:]
x = np.fromfile(source, "<f4").reshape([int(n) for n in dims.split(",")])
y = keras.models.load_model(model, compile=False).predict(x, verbose=0)
y = y[0] if isinstance(y, (list, tuple)) else y
np.asarray(y, "<f4").tofile(target)
