"""
Times products of the kaggle model's layers on a GPU, by cuBLAS through PyTorch: alone, with a bias, and with bias and ReLU
as the epilogue of the product; gradients of weights and inputs; with 367 and 368 inputs, and with 367 inputs in rows of 368
words: of x and its gradient, of the weights and theirs, or of both. Says whether the epilogue keeps NaN.

    python3 bench/peers/epilogue_pytorch.py

Without PyTorch it ends with status 77.
"""
import sys

try:
    import torch
except ImportError as error:
    print(f"python3 has no PyTorch: {error}")
    sys.exit(77)

LAYERS = ((13, 512), (512, 256), (256, 64), (64, 16), (367, 512), (368, 512), (512, 256))
CALLS = 10


def microseconds(call):
    """Of one call: the best of five replays of a graph of ten."""
    for _ in range(3):
        call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS):
            call()
    begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
    graph.replay()
    torch.cuda.synchronize()
    best = float("inf")
    for _ in range(5):
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end) / CALLS * 1e3)
    return best


def random(*shape):
    return torch.randn(*shape, device="cuda")


def rows_of(words, matrix):
    """The same matrix, whose rows begin `words` words apart."""
    wider = torch.empty(matrix.shape[0], words, device="cuda")[:, :matrix.shape[1]]
    return wider.copy_(matrix)


def products(x, weight, dy, y, dw, dx):
    """Microseconds of the three products of a layer."""
    return {
        "product": microseconds(lambda: torch.mm(x, weight.t(), out=y)),
        "dW": microseconds(lambda: torch.mm(dy.t(), x, out=dw)),
        "dX": microseconds(lambda: torch.mm(dy, weight, out=dx)),
    }


def report(samples, layer, times):
    text = ", ".join(f"{name} {time:.1f}" for name, time in times.items())
    print(f"{'tf32' if torch.backends.cuda.matmul.allow_tf32 else 'fp32'}, {samples} samples, {layer}: {text} us", flush=True)


x, weight, bias = random(8, 16), random(32, 16), random(32)
x[3, 2] = float("nan")
kept = torch.isnan(torch._addmm_activation(bias, x, weight.t())[3]).all()
print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; the epilogue keeps NaN: {bool(kept)}")
for tf32 in (False, True):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    for samples in (2048, 65536):
        for inputs, outputs in LAYERS:
            x, weight, bias, dy = random(samples, inputs), random(outputs, inputs), random(outputs), random(samples, outputs)
            y, dw, dx = torch.empty_like(dy), torch.empty_like(weight), torch.empty_like(x)
            times = products(x, weight, dy, y, dw, dx)
            times["and bias"] = microseconds(lambda: torch.addmm(bias, x, weight.t(), out=y))
            times["and ReLU"] = microseconds(lambda: torch._addmm_activation(bias, x, weight.t(), out=y))
            report(samples, f"{inputs}-{outputs}", times)
        x, weight, dy = random(samples, 367), random(512, 367), random(samples, 512)
        y, dw, dx = torch.empty_like(dy), torch.empty_like(weight), torch.empty_like(x)
        wide = {tensor: rows_of(368, tensor) for tensor in (x, dx, weight, dw)}
        report(samples, "367-512, x in rows of 368", products(wide[x], weight, dy, y, dw, wide[dx]))
        report(samples, "367-512, weights in rows of 368", products(x, wide[weight], dy, y, wide[dw], dx))
        report(samples, "367-512, both", products(wide[x], wide[weight], dy, y, wide[dw], wide[dx]))
