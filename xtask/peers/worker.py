"""One engine with one model, for `cargo xtask bench --peers`.

worker.py ENGINE MODEL THREADS: prints `READY {json}` once the model has run, then answers lines on
standard input as the example `peer_worker` of depthwise-engine does: `run WARM N`, `out`, `mem`.
"""

import gc
import json
import sys
import time

import numpy as np


def status_kb(key):
    """A memory figure of this process, in KiB; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(key):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def picture(height, width, channels):
    """The input that every engine gets: a ramp over the positions of an NHWC picture."""
    position = np.arange(height * width * channels, dtype=np.int64)
    ramp = (position * 7919 % 1009).astype(np.float32) / np.float32(504.5) - np.float32(1.0)
    return ramp.reshape(1, height, width, channels)


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, 3, 1))


class OnnxRuntime:
    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        source, target = self.session.get_inputs()[0], self.session.get_outputs()[0]
        _, channels, height, width = source.shape
        values = onnxruntime.OrtValue
        self.x = values.ortvalue_from_numpy(channels_first(picture(height, width, channels)))
        self.y = values.ortvalue_from_shape_and_type(target.shape, np.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input(source.name, self.x)
        self.binding.bind_ortvalue_output(target.name, self.y)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def output(self):
        return self.y.numpy()


class LiteRt:
    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=path, num_threads=threads)
        self.interpreter.allocate_tensors()
        source = self.interpreter.get_input_details()[0]
        self.result = self.interpreter.get_output_details()[0]
        _, height, width, channels = source["shape"]
        x = picture(height, width, channels)
        if source["dtype"] != np.float32:
            scale, zero = source["quantization"]
            ends = np.iinfo(source["dtype"])
            x = np.rint(x / np.float32(scale)) + zero
            x = x.clip(ends.min, ends.max).astype(source["dtype"])
        self.interpreter.set_tensor(source["index"], x)
        self.run = self.interpreter.invoke

    def output(self):
        y = self.interpreter.get_tensor(self.result["index"])
        if y.dtype == np.float32:
            return y
        scale, zero = self.result["quantization"]
        return (y.astype(np.float32) - zero) * np.float32(scale)


class OpenVino:
    def __init__(self, path, threads):
        import openvino

        core = openvino.Core()
        # Without the hint it computes in bf16 where the CPU can.
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = core.compile_model(core.read_model(path), "CPU", settings)
        _, channels, height, width = model.inputs[0].shape
        self.x = channels_first(picture(height, width, channels))
        self.request = model.create_infer_request()
        self.request.set_input_tensor(0, openvino.Tensor(self.x, shared_memory=True))
        self.run = self.request.infer

    def output(self):
        return self.request.get_output_tensor(0).data


ENGINES = {"onnxruntime": OnnxRuntime, "litert": LiteRt, "openvino": OpenVino}


def milliseconds(action):
    start = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - start) * 1e3


def main():
    name, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    engine, load = milliseconds(lambda: ENGINES[name](path, threads))
    _, first = milliseconds(engine.run)
    gc.disable()
    memory = {"rss_kb": status_kb("VmRSS:"), "hwm_kb": status_kb("VmHWM:")}
    print("READY " + json.dumps({"load_ms": load, "first_ms": first, **memory}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["run"]:
            for _ in range(int(words[1])):
                engine.run()
            times = []
            for _ in range(int(words[2])):
                start = time.perf_counter_ns()
                engine.run()
                times.append(time.perf_counter_ns() - start)
            answer = times
        elif words == ["out"]:
            answer = [float(y) for y in np.asarray(engine.output()).reshape(-1)[:8]]
        elif words == ["mem"]:
            answer = {"rss_kb": status_kb("VmRSS:"), "hwm_kb": status_kb("VmHWM:")}
        else:
            break
        print(json.dumps(answer), flush=True)


main()
