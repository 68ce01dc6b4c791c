"""Writes the node cases of the ONNX package where Rust can read them.

    python dump.py FOLDER

FOLDER/cases.json lists the cases; FOLDER/NAME.onnx is the model of one, FOLDER/NAME.bin the
elements of all its inputs and outputs, one after the other. NAME.fixed.onnx is the same model with
all inputs but the first as constants, NAME.folded.onnx with all of them.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

DTYPES = {
    "float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "int64": "i64",
    "int32": "i32", "int16": "i16", "int8": "i8", "uint8": "u8", "bool": "bool",
}  # fmt: skip


def arrays(values):
    """The arrays, or why there are none."""
    found = []
    for value in values:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        if isinstance(value, (np.generic, int, float, bool)):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            return None, "sequences and optional values"
        if value.dtype == object or value.dtype.kind in "US":
            return None, "texts"
        if str(value.dtype) not in DTYPES:
            return None, f"the element type {value.dtype}"
        found.append(value)
    return found, None


def with_constants(model, values, first):
    """The model with the inputs from number `first` on as constants."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    names = [info.name for info in fixed.graph.input]
    for name, value in list(zip(names, values))[first:]:
        fixed.graph.initializer.append(numpy_helper.from_array(value, name))
    del fixed.graph.input[first:]
    return fixed


def main(folder):
    os.makedirs(folder, exist_ok=True)
    listed = []
    for case in sorted(collect_testcases(None), key=lambda case: case.name):
        entry = {"name": case.name, "rtol": case.rtol, "atol": case.atol}
        listed.append(entry)
        inputs, outputs = case.data_sets[0]
        inputs, reason = arrays(inputs)
        outputs, reason_out = arrays(outputs)
        operators = {node.op_type for node in case.model.graph.node}
        entry["operators"] = sorted(operators)
        if reason or reason_out:
            entry["reason"] = reason or reason_out
            continue
        path = os.path.join(folder, case.name)
        with open(path + ".bin", "wb") as file:
            for value in inputs + outputs:
                file.write(np.ascontiguousarray(value).tobytes())
        kind = lambda value: {"dtype": DTYPES[str(value.dtype)], "dims": list(value.shape)}
        entry["inputs"] = [kind(value) for value in inputs]
        entry["outputs"] = [kind(value) for value in outputs]
        onnx.save(case.model, path + ".onnx")
        for first, name in [(1, "fixed"), (0, "folded")]:
            if len(inputs) > first:
                onnx.save(with_constants(case.model, inputs, first), f"{path}.{name}.onnx")
    with open(os.path.join(folder, "cases.json"), "w") as file:
        json.dump(listed, file, indent=0)


main(sys.argv[1])
