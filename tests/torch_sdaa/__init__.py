"""A stand-in for SDAA's extension of torch: another device, named `sdaa`, that needs no accelerator.

Its tensors live in CPU memory, refuse to mix with the CPU's, and reach torch as a real extension's do,
through PrivateUse1. With this directory's parent on PYTHONPATH the commands find it as they would find the
real one. It shows that no step of a run forgets where its tensors are; an accelerator's arithmetic, streams
and speed it cannot show.

TORCH_SDAA_LACKS   what it lacks, with commas between: import, available, pinned, events, float64,
                   fused_adam, channels_last, or operators such as aten::sigmoid
TORCH_SDAA_WRONG   operators whose results are wrong by a factor, such as aten::sigmoid:1e-2
"""

import torch

from torch_sdaa import backend, precision, tensor
from torch_sdaa.settings import LACKS

if "import" in LACKS:
    raise OSError("libsdaart.so: cannot open shared object file")

torch.utils.rename_privateuse1_backend("sdaa")
backend.register()
tensor.register()
precision.register()
