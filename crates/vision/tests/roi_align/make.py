"""Writes cases.json: RoiAlign as onnx.reference (onnx 1.23) computes it, NHWC."""

import json
import pathlib

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

H, W, C, BINS, SCALE = 5, 6, 2, (2, 3), 0.75
FEATURES = (np.arange(H * W * C).reshape(1, H, W, C) * 7919 % 101 / 10).astype(np.float32)
BOXES = np.array([[0.5, 0.25, 4.5, 3.75], [-3, -2, 9, 7], [2, 1, 2.25, 1.5]], np.float32)


def run(half_pixel, mode, samples):
    attributes = {
        "output_height": BINS[0],
        "output_width": BINS[1],
        "sampling_ratio": samples,
        "spatial_scale": SCALE,
        "coordinate_transformation_mode": "half_pixel" if half_pixel else "output_half_pixel",
        "mode": mode,
    }
    types = [("X", TensorProto.FLOAT), ("R", TensorProto.FLOAT), ("B", TensorProto.INT64)]
    graph = helper.make_graph(
        [helper.make_node("RoiAlign", ["X", "R", "B"], ["Y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(name, dtype, None) for name, dtype in types],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    inputs = {"X": FEATURES.transpose(0, 3, 1, 2), "R": BOXES, "B": np.zeros(3, np.int64)}
    return ReferenceEvaluator(model).run(None, inputs)[0].transpose(0, 2, 3, 1)


def numbers(array):
    return [float(f"{x:.6g}") for x in array.reshape(-1)]


cases = [
    {"half_pixel": h, "mode": m, "samples": s, "output": numbers(run(h, m, s))}
    for h in (False, True)
    for m in ("avg", "max")
    for s in (0, 2)
]
text = json.dumps({"features": numbers(FEATURES), "boxes": BOXES.tolist(), "cases": cases})
pathlib.Path(__file__).with_name("cases.json").write_text(text.replace("}, {", "},\n{") + "\n")
