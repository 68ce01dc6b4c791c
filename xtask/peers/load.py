"""Load times of another engine, for `cargo xtask bench --load`.

load.py ENGINE MODEL: prints `READY` once the engine has loaded the model, then answers every line on
standard input with the milliseconds that loading it once more took. Loading is what has to be done
before inputs can be given; where extents are free, what depends on them comes later.
"""

import sys
import time


def onnxruntime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return lambda: onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    def load():
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    return load


def main():
    load = {"onnxruntime": onnxruntime, "litert": litert}[sys.argv[1]](sys.argv[2])
    load()
    print("READY", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        model = load()
        print(1e3 * (time.perf_counter() - start), flush=True)
        del model


main()
