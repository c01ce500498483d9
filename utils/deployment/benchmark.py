"""What predict.py --benchmark does: every form of a network that can be made here, timed side by side."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from alm.constants import THRESHOLD
from alm.devices.host import processor_name
from alm.errors import AlmError, PictureError
from alm.inference.onnx_metadata import Metadata
from alm.inference.onnx_predictor import OnnxPredictor
from alm.inference.prediction import PicturePredictor, read_input
from alm.inference.predictor import Predictor, is_onnx
from utils.errors import DataError
from utils.io.process import tell, temporary_directory
from utils.prediction.load import COMES_ALONG, load_predictor
from utils.prediction.sources import sources
from utils.synthetic import ensure_dataset

BATCH_SIZES = (1, 8, 32)
LEAST = 8  # pictures that are timed together, however small the batches
ROUNDS = 7
MOST_PICTURES = 64  # different ones
NAME, COLUMN = 20, 18  # characters of the table

Form = PicturePredictor | str  # what predicts, or why nothing can
Step = Callable[[], None]


def benchmark(
    checkpoint: str,
    paths: Sequence[str] = (),
    data_root: str | None = None,
    follow_links: bool = False,
    *,
    as_trained: bool = False,
    threads: int,
    **network,
) -> None:
    """Time all forms on the pictures of `paths`, else on drawn ones; print a table.

    `network` are further options of `load_predictor`.
    """
    with temporary_directory("timing") as directory:
        pictures = {}
        for file in chosen_pictures(paths, data_root, follow_links, directory):
            with suppress(PictureError):
                pictures[file] = read_input(file, as_trained)
        if not pictures:
            raise DataError("there are no pictures that can be read; name others")
        files, inputs = list(pictures), list(pictures.values())
        pixels = np.stack([pixels for pixels, _ in inputs])
        forms = dict(forms_of(checkpoint, threads, network, pixels, directory))
        sizes = "".join(f"batch {size}".rjust(COLUMN) for size in BATCH_SIZES)
        pictures_timed = f"the first {len(files)} pictures" if paths else f"{len(files)} drawn pictures"
        tell(machine(threads, pictures_timed), "", f"{'for each picture':{NAME + 2}}{sizes}")
        tables = {
            "resized pictures in memory": steps_of(forms, partial(predicting, inputs)),
            "files, decoding included": steps_of(forms, partial(decoding, files, as_trained)),
        }
        every = [step for rows in tables.values() for steps in rows.values() for step in steps.values()]
        seconds = in_turn(every, ROUNDS, pause=0.1)
    for title, rows in tables.items():
        tell(title)
        for name, steps in rows.items():
            cells = (cell(median(seconds[step]) / timed(size)) for size, step in steps.items())
            tell(f"  {name:{NAME}}" + ("".join(cells) if steps else str(forms[name])))


def chosen_pictures(
    paths: Sequence[str], data_root: str | None, follow_links: bool, directory: Path
) -> Iterator[str]:
    """Yield the first files of the paths, or draw some people."""
    if paths:
        pictures = sources(paths, data_root, follow_links)
        for source in islice(pictures, MOST_PICTURES):
            if source.member:
                raise DataError(f"{source.file} is an archive, and --benchmark times files; name a folder")
            yield source.file
        return
    ensure_dataset(directory / "drawn", train=MOST_PICTURES, test=1)
    yield from (source.file for source in sources([str(directory / "drawn" / "synthetic" / "train")]))


def forms_of(
    checkpoint: str, threads: int, network: Mapping, pixels: np.ndarray, directory: Path
) -> Iterator[tuple[str, Form]]:
    """Yield the name of each form and what predicts, or why nothing can. `pixels` (N, 256, 128, 3) are to
    calibrate integers on.
    """
    predictor, _ = load_predictor(checkpoint, threads=threads, **network)
    if is_onnx(checkpoint):
        yield "onnxruntime", predictor
        return
    from alm.checkpoint.restore import load_model
    from alm.inference.export import Deployed, write_onnx
    from utils.deployment.quantization import quantize

    model = load_model(checkpoint)
    model.align_corners = predictor.align_corners
    device = str(predictor.device)
    yield f"PyTorch, {device}", Predictor(model, predictor.attributes, device, folded=False)
    yield f"PyTorch folded, {device}", predictor
    float32, int8 = directory / "float32.onnx", directory / "int8.onnx"

    def exported() -> OnnxPredictor:
        count = len(predictor.attributes)
        about = Metadata(predictor.attributes, "", (THRESHOLD,) * count, model.align_corners, model.levels)
        write_onnx(Deployed(model).eval(), float32, about.texts())
        return OnnxPredictor(float32, threads)

    def quantized() -> OnnxPredictor:
        quantize(float32, int8, (picture[None].transpose(0, 3, 1, 2) for picture in pixels))
        return OnnxPredictor(int8, threads)

    in_float32 = made(exported)
    yield "onnxruntime", in_float32
    yield "onnxruntime, int8", in_float32 if isinstance(in_float32, str) else made(quantized)
    if COMES_ALONG.exists():
        yield f"{COMES_ALONG.name}, int8", made(lambda: OnnxPredictor(COMES_ALONG, threads))


def made(make: Callable[[], PicturePredictor]) -> Form:
    try:
        return make()
    except AlmError as error:
        return str(error)


def steps_of(
    forms: Mapping[str, Form], step_of: Callable[[PicturePredictor, int], Step]
) -> dict[str, dict[int, Step]]:
    """Return each form's step by the size of its batches; nothing for a form that is missing."""
    return {
        name: {} if isinstance(form, str) else {size: step_of(form, size) for size in BATCH_SIZES}
        for name, form in forms.items()
    }


def predicting(
    inputs: Sequence[tuple[np.ndarray, tuple[int, int]]], form: PicturePredictor, size: int
) -> Step:
    """Return what predicts resized pictures, in batches of a size."""
    pixels, sizes = zip(*islice(cycle(inputs), size), strict=True)
    batch = np.stack(pixels)

    def step() -> None:
        for _ in range(timed(size) // size):
            form.predict(batch, sizes)

    return step


def decoding(files: Sequence[str], as_trained: bool, form: PicturePredictor, size: int) -> Step:
    """Return what reads files and predicts them, in batches of a size, in one thread."""
    timed_files = list(islice(cycle(files), timed(size)))
    return lambda: form(timed_files, size, as_trained)


def timed(size: int) -> int:
    """Return how many pictures are timed together, in batches of a size."""
    return size * -(-LEAST // size)


def machine(threads: int, pictures: str) -> str:
    """Return what the figures hold for."""
    words = [processor_name(), f"{threads} threads"]
    for package in ("torch", "onnxruntime"):
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            words.append(f"no {package}")
    return ", ".join([*words, pictures])


def cell(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms {1 / seconds:5.0f}/s".rjust(COLUMN)


def in_turn(
    steps: Sequence[Step],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    pause: float = 0.0,
) -> dict[Step, list[float]]:
    """Return the seconds of each step in each round.

    All steps run in turn, so that drift hits all; a step that occurs several times runs once a round. Before
    each are `pause` seconds: threads wait for more work for a while, and would take the next step's cores.
    """
    steps = list(dict.fromkeys(steps))
    for step in steps:
        step()  # the first call builds what later ones reuse
    seconds: dict[Step, list[float]] = {step: [] for step in steps}
    for _ in tqdm(range(rounds), "Measure", leave=False, disable=None):
        steps.reverse()  # no step always runs on what the same one left in caches and heap
        for step in steps:
            time.sleep(pause)
            start = clock()
            step()
            seconds[step].append(clock() - start)
    return seconds
