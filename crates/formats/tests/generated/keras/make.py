"""Makes the .keras and .h5 files of this folder, and beside each what Keras computes of it.

    python -m venv ENV; ENV/bin/pip install keras==3.15.1 tensorflow-cpu==2.21.0 safetensors==0.8.0
    KERAS_BACKEND=tensorflow ENV/bin/python make.py
    ENV/bin/pip install tf_keras==2.21.0; TF_USE_LEGACY_KERAS=1 ENV/bin/python make.py 2

Weights and inputs are random, from fixed seeds. NAME.safetensors has in/0, in/1 ... and
out/0, out/1 ... in the order of the model's inputs and outputs. After a 3, names of files make
only those.
"""

import io
import os
import sys
import zipfile

import h5py
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = int(sys.argv[1]) if len(sys.argv) > 1 else 3
if VERSION == 2:
    import tf_keras as keras
else:
    import keras
L = keras.layers
# Archives that stay as Keras writes them.
AS_WRITTEN = ["nested", "sequential"]


def fill(model):
    """Weights that show a mistake: none of them 0 or 1, variances positive."""
    rng = np.random.default_rng(7)
    for w in model.weights:
        name = w.path if hasattr(w, "path") else w.name
        if "seed" in name or "count" in name:
            continue
        value = rng.uniform(-1, 1, w.shape)
        if "variance" in name:
            value = 0.5 + np.abs(value)
        w.assign(value.astype("float32"))
    for layer in model.layers:
        # It computes with copies of its weights.
        if isinstance(layer, L.Normalization) and layer.input_mean is None:
            layer.finalize_state()


def record(model, name, extension, inputs):
    fill(model)
    outputs = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    tensors = {f"in/{i}": np.ascontiguousarray(x) for i, x in enumerate(inputs)}
    tensors |= {f"out/{i}": np.ascontiguousarray(y) for i, y in enumerate(outputs)}
    model.save(os.path.join(HERE, name + extension))
    save_file(tensors, os.path.join(HERE, name + ".safetensors"))
    if extension == ".keras" and name not in AS_WRITTEN:
        shrink(os.path.join(HERE, name + extension))
    print(name, len(model.layers), "layers", len(outputs), "outputs")


def copy(old, new):
    new.attrs.update(old.attrs)
    for name, part in old.items():
        if isinstance(part, h5py.Group):
            copy(part, new.create_group(name))
        else:
            new.create_dataset(name, data=part[()])


def shrink(path):
    """The same archive with the weights in the newer form of HDF5, whose groups are small."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO()
    with h5py.File(io.BytesIO(parts["model.weights.h5"])) as old:
        with h5py.File(weights, "w", libver="latest") as new:
            copy(old, new)
    parts["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def floats(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, shape).astype("float32")


def convolutions():
    x = keras.Input((9, 8, 4))
    outputs = [
        L.Conv2D(6, 3, strides=2, padding="same", activation="relu6")(x),
        L.Conv2D(6, (3, 2), dilation_rate=2, groups=2, use_bias=False)(x),
        L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(x),
        L.DepthwiseConv2D((3, 2), dilation_rate=(2, 2), activation="tanh")(x),
        L.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="swish")(x),
        L.SeparableConv2D(5, 3, use_bias=False)(x),
        L.Conv2DTranspose(3, 3, strides=2, padding="same")(x),
        L.Conv2DTranspose(3, 2, strides=3, padding="valid", use_bias=False)(x),
    ]
    return keras.Model(x, outputs), [floats(2, 9, 8, 4)]


def signals():
    x = keras.Input((11, 4))
    outputs = [
        L.Conv1D(5, 3, strides=2, padding="same")(x),
        L.Conv1D(5, 3, padding="causal", dilation_rate=2)(x),
        L.Conv1D(4, 2, groups=2, activation="sigmoid")(x),
        L.SeparableConv1D(5, 3, padding="same", activation="elu")(x),
        L.DepthwiseConv1D(3, padding="valid", depth_multiplier=2)(x),
        L.MaxPooling1D(3, strides=2, padding="same")(x),
        L.AveragePooling1D(2)(x),
        L.GlobalAveragePooling1D()(x),
        L.GlobalMaxPooling1D(keepdims=True)(x),
        L.ZeroPadding1D((1, 2))(x),
        L.Cropping1D((2, 1))(x),
        L.UpSampling1D(3)(x),
        L.RepeatVector(2)(L.Flatten()(x)),
        L.Permute((2, 1))(x),
    ]
    return keras.Model(x, outputs), [floats(2, 11, 4)]


def pictures():
    x = keras.Input((7, 6, 3))
    outputs = [
        L.MaxPooling2D(2)(x),
        L.MaxPooling2D((3, 2), strides=(2, 1), padding="same")(x),
        L.AveragePooling2D(3, strides=2, padding="same")(x),
        L.GlobalAveragePooling2D()(x),
        L.GlobalAveragePooling2D(keepdims=True)(x),
        L.GlobalMaxPooling2D()(x),
        L.ZeroPadding2D(((0, 1), (2, 1)))(x),
        L.Cropping2D(((1, 2), (0, 3)))(x),
        L.UpSampling2D((2, 3))(x),
        L.UpSampling2D(2, interpolation="bilinear")(x),
        L.Resizing(5, 9)(x),
        L.Rescaling(1 / 127.5, offset=-1)(x),
        L.Rescaling([1.0, 2.0, 3.0], offset=[0.5, 0.0, -0.5])(x),
        L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 0.25])(x),
        L.Normalization()(x),
        L.BatchNormalization(epsilon=1e-3)(x),
        L.BatchNormalization(scale=False)(x),
        L.BatchNormalization(center=False)(x),
        L.LayerNormalization()(x),
        L.Flatten()(x),
        L.Reshape((-1, 9))(x),
        L.Permute((3, 1, 2))(x),
        L.SpatialDropout2D(0.3)(L.Dropout(0.5)(L.GaussianNoise(0.1)(x))),
        L.RandomFlip()(x),
    ]
    return keras.Model(x, outputs), [floats(2, 7, 6, 3)]


ACTIVATIONS = [
    "linear", "relu", "relu6", "softmax", "sigmoid", "tanh", "hard_sigmoid", "swish", "gelu", "elu",
    "selu", "softplus", "softsign", "exponential", "mish",
]
LATER_ACTIVATIONS = [
    "silu", "hard_silu", "hard_swish", "leaky_relu", "log_softmax", "celu", "hard_tanh",
    "log_sigmoid", "squareplus", "glu",
]


def activations():
    x = keras.Input((5, 6))
    names = ACTIVATIONS + (LATER_ACTIVATIONS[:7] if VERSION == 3 else [])
    outputs = [L.Activation(name)(x) for name in names]
    slope = {"negative_slope": 0.2} if VERSION == 3 else {"alpha": 0.2}
    outputs += [
        L.ReLU()(x),
        L.ReLU(max_value=2.0)(x),
        L.ReLU(negative_slope=0.1)(x),
        L.ReLU(max_value=1.5, negative_slope=0.1)(x),
        L.LeakyReLU(**slope)(x),
        L.LeakyReLU()(x),
        L.PReLU()(x),
        L.PReLU(shared_axes=[1])(x),
        L.ELU(alpha=0.7)(x),
        L.Softmax()(x),
        L.Softmax(axis=1)(x),
    ]
    return keras.Model(x, outputs), [floats(2, 5, 6)]


def merges():
    a, b, c = keras.Input((4, 3, 2)), keras.Input((4, 3, 2)), keras.Input((1, 1, 2))
    outputs = [
        L.Add()([a, b, a]),
        L.Multiply()([a, c]),
        L.Subtract()([a, b]),
        L.Average()([a, b]),
        L.Maximum()([a, b]),
        L.Minimum()([a, b]),
        L.Concatenate()([a, b]),
        L.Concatenate(axis=1)([a, b]),
        a / 127.5 - 1.0,
        2.0 * a + b,
        -a,
    ]
    if VERSION == 3:
        ops = keras.ops
        outputs += [ops.relu(a), ops.relu6(a), ops.clip(a, -1.0, 2.0), ops.maximum(a, b)]
        outputs += [ops.mean(a, axis=(1, 2), keepdims=True), ops.concatenate([a, b], axis=-1)]
        outputs += [ops.reshape(a, (-1, 24)), ops.transpose(a, (0, 3, 1, 2)), ops.sigmoid(a)]
    else:
        import tensorflow as tf

        outputs += [tf.nn.relu6(a), tf.math.maximum(a, b), tf.nn.relu(a), tf.sigmoid(a)]
        outputs += [tf.concat([a, b], -1), tf.reduce_mean(a, [1, 2], keepdims=True)]
    inputs = [floats(2, 4, 3, 2, seed=i) for i in (1, 2)] + [floats(2, 1, 1, 2, seed=3)]
    return keras.Model([a, b, c], outputs), inputs


def nested():
    """Models in models, and layers that are called twice."""
    inner_in = keras.Input((6, 6, 3))
    y = L.Conv2D(4, 3, padding="same", use_bias=False, name="mix")(inner_in)
    y = L.BatchNormalization(name="norm")(y)
    block = keras.Model(inner_in, [L.ReLU(6.0)(y), L.GlobalAveragePooling2D()(y)], name="block")
    head = keras.Sequential([L.Dense(4, activation="relu"), L.Dropout(0.2), L.Dense(2)], name="head")
    a, b = keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    (map_a, mean_a), (map_b, mean_b) = block(a), block(b)
    shared = L.Dense(4, name="shared")
    y = L.Add()([shared(mean_a), shared(mean_b)])
    y = L.Activation("softmax")(head(y))
    maps = L.Conv2D(2, 1)(L.Concatenate()([map_a, map_b]))
    inputs = [floats(1, 6, 6, 3, seed=i) for i in (4, 5)]
    return keras.Model([a, b], [y, maps]), inputs


def sequential():
    net = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            L.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            L.DepthwiseConv2D(3, padding="same"),
            L.BatchNormalization(),
            L.Activation("hard_sigmoid"),
            L.GlobalAveragePooling2D(),
            L.Dense(3, activation="softmax"),
        ]
    )
    return net, [floats(3, 12, 12, 1)]


def text():
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(9, 4)(x)
    y = L.SeparableConv1D(5, 3, padding="same", activation="relu")(y)
    y = L.Dense(2, activation="softmax")(L.GlobalMaxPooling1D()(y))
    tokens = np.random.default_rng(6).integers(0, 9, (2, 6)).astype("int32")
    return keras.Model(x, y), [tokens]


MAKERS = [convolutions, signals, pictures, activations, merges, nested, sequential, text]

if VERSION == 3:
    for maker in [maker for maker in MAKERS if not sys.argv[2:] or maker.__name__ in sys.argv[2:]]:
        record(*maker()[:1], maker.__name__, ".keras", maker()[1])
    for maker in [] if sys.argv[2:] else [nested, sequential]:
        keras.utils.clear_session()
        record(*maker()[:1], maker.__name__ + "_v3", ".h5", maker()[1])
else:
    for maker in (activations, merges, nested, sequential):
        keras.backend.clear_session()
        record(*maker()[:1], maker.__name__ + "_v2", ".h5", maker()[1])
    keras.backend.clear_session()
    record(*nested()[:1], "nested_v2", ".keras", nested()[1])
