"""Exported models in other engines, for `cargo xtask accuracy --exported`.

exported.py JOBS: JOBS is a JSON list of {engine, model, inputs: [{name, dims, file}], output}. Every
model runs once on its inputs (raw little-endian f32, or i64 in files that end in .i64); the results go to OUTPUT.0, OUTPUT.1, .. and
their names and extents to OUTPUT.json, or what went wrong to the key "error" there.
"""

import json
import sys

import numpy as np


def onnxruntime(model, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # On CPUs without VNNI the usual products of bytes saturate at 16 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    results = session.run(None, {name: x for name, x in inputs})
    return [(output.name, x) for output, x in zip(session.get_outputs(), results)]


def onnx_checker(model, inputs):
    import onnx

    onnx.checker.check_model(model, full_check=True)
    return []


def litert(model, inputs):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    for detail, (_, x) in zip(interpreter.get_input_details(), inputs):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    return [
        (detail["name"], interpreter.get_tensor(detail["index"]))
        for detail in interpreter.get_output_details()
    ]


ENGINES = {"onnxruntime": onnxruntime, "litert": litert, "onnx checker": onnx_checker}


def run(job):
    inputs = []
    for x in job["inputs"]:
        dtype = "<i8" if x["file"].endswith(".i64") else "<f4"
        inputs.append((x["name"], np.fromfile(x["file"], dtype=dtype).reshape(x["dims"])))
    outputs = []
    for i, (name, x) in enumerate(ENGINES[job["engine"]](job["model"], inputs)):
        x = np.asarray(x)
        x.astype("<f4").tofile(f"{job['output']}.{i}")
        outputs.append({"name": name, "dims": list(x.shape)})
    return {"outputs": outputs}


def main():
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    for job in jobs:
        try:
            result = run(job)
        except Exception as error:  # Whatever it is, the report names the model.
            result = {"error": f"{type(error).__name__}: {error}"}
        with open(job["output"] + ".json", "w") as file:
            json.dump(result, file)


main()
