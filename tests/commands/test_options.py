"""One rule: what is named, else what the checkpoint was trained with, else the default."""

import os

import pytest

import alm
from alm.devices import precision
from run_scripts.training.options import DEFAULTS, RECIPES, Trait, build_parser, names
from run_scripts.training.resolve import checkpoint_named, resolve
from utils.io.atomic import temporary_name


def options_of(*words, resumed=None):
    """Return all options of a command line, and what is told."""
    return resolve(build_parser().parse_args([str(word) for word in words]), resumed)


def refused(capsys, *words, resumed=None):
    """Return what is said to a command line that is refused."""
    with pytest.raises(SystemExit) as ending:
        options_of(*words, resumed=resumed)
    assert ending.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def checkpoint():
    """Return a function that makes what a run with these options would have saved."""

    def make(*words, epoch=3):
        return {"format": "alm-1", "epoch": epoch, "options": vars(options_of(*words)[0])}

    return make


def test_without_a_checkpoint_the_rest_is_default():
    options, told = options_of("--experiment", "peta", "--lr", "0.5")
    assert (options.lr, options.weight_decay, options.epochs) == (0.5, 5e-4, 60)
    assert (options.decay_epoch, options.ratios, options.start_epoch) == ((20, 40), "published", 0)
    assert (options.evaluate, options.resume) == (False, "")
    assert list(vars(options)) == list(DEFAULTS)
    assert told == []


def test_the_synthetic_set_has_defaults_of_its_own():
    options, _ = options_of("--experiment", "synthetic")
    assert (options.epochs, options.lr, options.decay_epoch) == (2, 3e-4, ())
    assert options.ratios == "list"


def test_a_recipe_stands_below_what_is_named_and_what_a_run_has(checkpoint, capsys):
    options, _ = options_of("--experiment", "synthetic", "--recipe", "modern", "--weight_decay", "0")
    assert vars(options) | RECIPES["modern"] | {"weight_decay": 0} == vars(options)
    assert (options.epochs, options.warmup) == (2, 0.3)
    resume = ("--resume", "3.pth.tar")
    saved = checkpoint("--experiment", "peta", "--recipe", "modern", "--weight_decay", "0")
    saved["options"]["lr"] = 0.25  # of a modern recipe that had another
    for words in ((), ("--recipe", "modern")):
        options, told = options_of(*resume, *words, resumed=saved)
        assert (options.recipe, options.weight_decay, options.lr, told) == ("modern", 0, 0.25, [])
    del saved["options"]["adjust"]  # of a modern recipe that had none
    assert options_of(*resume, resumed=saved)[0].adjust == 0
    saved = checkpoint("--experiment", "peta")
    for old in (saved, {**saved, "options": {"experiment": "peta"}}):
        said = refused(capsys, *resume, "--recipe", "modern", resumed=old)
        assert "--recipe modern: a run goes on with the options that it has; name each one" in said
    published = {"epoch": 40, "state_dict": {}}
    words = (*resume, "--experiment", "peta", "--recipe", "modern")
    assert options_of(*words, resumed=published)[0].optimizer == "adamw"


@pytest.mark.parametrize(("words", "warmup"), [((), 0.0), (("--schedule", "onecycle"), 0.3)])
def test_one_cycle_begins_with_a_warm_up(words, warmup):
    assert options_of("--experiment", "peta", *words)[0].warmup == warmup


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("--schedule", "cosine"), "schedule", "cosine"),
        (("--lr", "0.5"), "lr", 0.5),
        (("--momentum", "0"), "momentum", 0.0),
        (("--decay_epoch", "()"), "decay_epoch", ()),
        (("--seed", "0"), "seed", 0),
        (("--width", "64"), "width", 64),
        (("--prefix", "-x y"), "prefix", "-x y"),
        (("--align_corners", "true"), "align_corners", "true"),
        (("--compile",), "compile", True),
        (("--val_list", "other.txt"), "val_list", "other.txt"),
    ],
)  # fmt: skip
def test_what_is_not_named_is_the_checkpoints(checkpoint, words, name, value):
    words = [f"{words[0]}={words[1]}"] if len(words) == 2 else words
    saved = checkpoint("--experiment", "rap", "--batch_size", "3", *words)
    options, told = options_of("--resume", "3.pth.tar", resumed=saved)
    assert getattr(options, name) == value
    assert (options.experiment, options.batch_size, options.resume) == ("rap", 3, "3.pth.tar")
    assert options.start_epoch == 3
    assert told == []


def test_what_is_named_wins_and_what_differs_is_told(checkpoint):
    saved = checkpoint("--experiment", "peta", "--weight_decay", "0.1", "--lr", "0.5")
    options, told = options_of(
        "--resume", "a.tar", "--weight_decay", "0.05", "--lr", "0.5", "--start-epoch", "1", resumed=saved
    )
    assert (options.weight_decay, options.lr, options.start_epoch) == (0.05, 0.5, 1)
    assert told == ["Option: --weight_decay 0.05, 0.1 in a.tar"]


def test_what_was_switched_on_can_be_switched_off(checkpoint):
    saved = checkpoint("--experiment", "peta", "--compile", "--allow_missing")
    options, told = options_of("--resume", "a.tar", "--no-compile", resumed=saved)
    assert (options.compile, options.allow_missing) == (False, True)
    assert told == ["Option: --compile False, True in a.tar"]


def test_a_published_checkpoint_has_no_options():
    options, told = options_of(
        "--resume", "40.pth.tar", "--experiment", "peta", resumed={"epoch": 40, "state_dict": {}}
    )
    assert (options.lr, options.start_epoch, told) == (1e-4, 40, [])


@pytest.mark.parametrize(("words", "value"), [((), "all"), (("--max_iters", "3"), 3)])
def test_what_belongs_to_a_trial_does_not_come_back_and_is_told(checkpoint, words, value):
    saved = checkpoint("--experiment", "peta", "--max_iters", "2")
    options, told = options_of("--resume", "a.tar", *words, resumed=saved)
    assert options.max_iters == value
    assert told == [f"Option: --max_iters {value}, 2 in a.tar"]
    assert options_of("--resume", "a.tar", "--max_iters", "2", resumed=saved)[1] == []


def test_what_belongs_to_one_start_does_not_come_back(checkpoint, tmp_path):
    names = tmp_path / "names.txt"
    saved = checkpoint(
        "--experiment", "custom", "--attributes", names, "--train_list", "a.txt", "--output_dir", "runs/a",
        "--init_from", "b.tar",
    )  # fmt: skip
    options, _ = options_of("--resume", "3.pth.tar", resumed=saved)
    assert (options.attributes, options.output_dir, options.init_from) == (None, None, None)


@pytest.mark.parametrize(("source", "output"), [("train_list", "json"), ("pretrained", "fingerprint")])
def test_what_is_read_is_not_written_over(tmp_path, capsys, output, source):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit):
        options_of("--experiment", "peta", f"--{source}", file, f"--{output}", file)
    assert f"--{output} {file}: the command reads it" in capsys.readouterr().err


def test_no_checkpoint_says_what_is_written_or_which_cache_is_trusted(checkpoint, tmp_path):
    """Not of one's own run, whose figures a second one would write over; and not of anyone's."""
    saved = checkpoint(
        "--experiment", "peta", "--json", tmp_path / "a.json", "--log_json", tmp_path / "log.json",
        "--tensorboard", tmp_path / "tb", "--cache", tmp_path / "pixels", "--output_dir", tmp_path / "run",
    )  # fmt: skip
    saved["options"] |= {"predictions": str(tmp_path / "a.csv"), "report": "r.html", "debug": True}
    options, told = options_of("--resume", "3.pth.tar", resumed=saved)
    written = ("json", "log_json", "tensorboard", "cache", "output_dir", "predictions", "report")
    assert [getattr(options, name) for name in written] == [None, None, None, "none", None, None, None]
    assert told == []
    saved = checkpoint("--experiment", "peta", "--cache", "auto")
    assert options_of("--resume", "3.pth.tar", resumed=saved)[0].cache == "none"


def test_no_checkpoint_lets_a_list_reach_out_of_its_directory(checkpoint):
    saved = checkpoint("--experiment", "peta", "--follow_links")
    assert saved["options"]["follow_links"] is True
    assert options_of("--resume", "3.pth.tar", resumed=saved)[0].follow_links is False
    assert options_of("--resume", "3.pth.tar", "--follow_links", resumed=saved)[0].follow_links is True


@pytest.mark.parametrize("made", [True, False])
def test_a_data_root_that_is_empty_or_gone_is_not_drawn_in(checkpoint, tmp_path, made):
    root = tmp_path / "data"
    saved = checkpoint("--experiment", "synthetic", "--data_root", root)
    if made:
        root.mkdir()
    with pytest.raises(
        alm.AlmError, match=rf"^3\.pth\.tar was trained with --data_root {root}, but no data are there"
    ):
        options_of("--resume", "3.pth.tar", resumed=saved)
    named = options_of("--resume", "3.pth.tar", "--data_root", tmp_path / "other", resumed=saved)[0]
    assert named.data_root == str(tmp_path / "other")


def test_another_data_set_has_its_own_places(checkpoint, tmp_path):
    saved = checkpoint(
        "--experiment", "synthetic", "--data_root", tmp_path, "--val_list", "b.txt", "--lr", "0.5"
    )
    options, told = options_of("--experiment", "peta", "-e", "--resume", "3.pth.tar", resumed=saved)
    assert (options.data_root, options.val_list, options.lr) == (None, None, 0.5)
    assert told == ["Option: --experiment peta, synthetic in 3.pth.tar"]
    saved = checkpoint("--experiment", "peta")
    options, _ = options_of("--experiment", "synthetic", "-e", "--resume", "3.pth.tar", resumed=saved)
    assert options.ratios == "list"


def test_an_error_about_an_option_of_the_checkpoint_says_so(checkpoint):
    saved = checkpoint("--experiment", "peta", "--device", "cpu")
    saved["options"]["device"] = "sdaa"
    options, _ = options_of("--resume", "3.pth.tar", resumed=saved)
    origin = r"; here: cpu\. 3\.pth\.tar was trained with --device sdaa$"
    with pytest.raises(alm.AlmError, match=origin), checkpoint_named({"resume"}, options):
        raise alm.AlmError("--device sdaa: torch_sdaa is not installed; here: cpu")
    for error, named in (("--device sdaa: not here", {"resume", "device"}), ("something else", {"resume"})):
        with pytest.raises(alm.AlmError, match=f"^{error}$"), checkpoint_named(named, options):
            raise alm.AlmError(error)
    unresumed, _ = options_of("--experiment", "peta", "--data_root", "absent")
    with pytest.raises(alm.AlmError, match=r"--data_root$"), checkpoint_named({}, unresumed):
        raise alm.AlmError("name another with --data_root")


def test_the_synthetic_sets_device_is_the_checkpoints_too(checkpoint, monkeypatch):
    saved = checkpoint("--experiment", "synthetic", "--device", "cpu", "--amp", "off")
    saved["options"] |= {"device": "sdaa", "amp": "auto"}

    def choose(name):
        raise alm.AlmError(f"--device {name}: not here")

    monkeypatch.setattr(precision, "choose_device", choose)
    with pytest.raises(alm.AlmError, match=r"not here\. 3\.pth\.tar was trained with --device sdaa"):
        options_of("--resume", "3.pth.tar", resumed=saved)


def test_places_mean_the_same_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.txt").touch()
    options, _ = options_of(
        "--experiment", "peta", "--data_root", "data", "--train_list", "here.txt", "--val_list", "there.txt",
        "--cache", "auto",
    )  # fmt: skip
    assert options.data_root == str(tmp_path / "data")
    assert options.train_list == str(tmp_path / "here.txt")
    assert options.val_list == "there.txt"  # of the data set's directory, if anywhere
    assert options.cache == "auto"
    assert options_of("--experiment", "peta", "--cache", "pixels")[0].cache == str(tmp_path / "pixels")


WRONG = {
    "experiment": "market",
    "approach": ["a"],
    "backbone": 18,
    "width": 8,
    "epochs": "three",
    "batch_size": 0,
    "lr": float("nan"),
    "optimizer": "sgd; rm",
    "momentum": -0.1,
    "weight_decay": float("inf"),
    "print_freq": True,
    "save_freq": 0,
    "save_every_iters": 0,
    "keep": "none",
    "on_nonfinite": "go on",
    "on_bad_image": 3,
    "decay_epoch": "__import__('os')",
    "prefix": "../a",
    "data_root": 3,
    "train_list": ["a"],
    "val_list": "a\0b",
    "allow_missing": 1,
    "workers": "many",
    "loss": None.__class__,
    "ratios": "mine",
    "align_corners": True,
    "seed": -1,
    "recipe": "old",
    "schedule": "square",
    "warmup": 1,
    "head_lr": 0,
    "freeze": -1,
    "adjust": -0.5,
    "clip_grad": -1.0,
    "ema": 1.0,
    "augment": "erase",
    "device": "abacus",
    "amp": "fp8",
    "compile": "yes",
    "accumulate": 0,
    "sync_bn": "yes",
}


def test_every_kind_of_wrong_option_is_tried():
    assert WRONG.keys() == set(names(Trait.RESTORED))


@pytest.mark.parametrize("name", WRONG)
def test_options_of_a_checkpoint_that_make_no_sense_are_refused(name):
    """One line, which names the option; who names it goes on without the checkpoint's."""
    resumed = {"epoch": 1, "options": {"experiment": "peta", name: WRONG[name]}}
    with pytest.raises(
        alm.AlmError, match=rf"^1\.pth\.tar: this checkpoint is damaged: its option --{name} is .*, not .*"
    ) as error:
        options_of("--resume", "1.pth.tar", resumed=resumed)
    assert "\n" not in str(error.value)


def test_an_option_that_makes_no_sense_is_no_hindrance_when_it_is_named():
    resumed = {"epoch": 1, "options": {"experiment": "peta", "lr": float("nan"), "decay_epoch": 7}}
    options, told = options_of("--resume", "1.pth.tar", "--lr", "1e-4", "--decay_epoch", "3", resumed=resumed)
    assert (options.lr, options.decay_epoch, told) == (1e-4, (3,), [])


def test_values_of_a_checkpoint_are_never_read_as_words():
    """A text that looks like an option is a text."""
    resumed = {"epoch": 1, "options": {"experiment": "peta", "prefix": "--json=a", "compile": False}}
    options, _ = options_of("--resume", "1.pth.tar", resumed=resumed)
    assert (options.prefix, options.json, options.compile) == ("--json=a", None, False)
    resumed["options"]["prefix"] = ""
    assert options_of("--resume", "1.pth.tar", resumed=resumed)[0].prefix == ""


def test_a_prefix_leaves_room_for_the_epoch_and_what_is_not_whole_yet(tmp_path):
    prefix = options_of("--experiment", "peta", "--prefix", "行" * 50)[0].prefix
    temporary = temporary_name(tmp_path / f"{prefix}_{2**31}.pth.tar")
    temporary.with_name(f"{temporary.name}{2**32}").touch()  # a longer process id than there is
    resumed = {"epoch": 1, "options": {"experiment": "peta", "prefix": "x" * 151}}
    with pytest.raises(alm.AlmError, match=r"its option --prefix is .*, not part of a file name"):
        options_of("--resume", "1.pth.tar", resumed=resumed)


def test_options_of_a_later_program_are_passed_over():
    resumed = {"epoch": 1, "options": {"experiment": "peta", "gravity": 9.81}}
    assert options_of("--resume", "1.pth.tar", resumed=resumed)[0].experiment == "peta"


def test_without_any_experiment_it_is_asked_for(capsys):
    assert "--experiment NAME is needed" in refused(capsys, "--lr", "0.5")
    published = {"epoch": 40, "state_dict": {}}
    message = refused(capsys, "--resume", "40.pth.tar", resumed=published)
    assert "--experiment NAME is needed: 40.pth.tar does not say which data set it is of" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prefix", "a/b"), "'a/b' is no part of a file name; leave the separators out"),
        (("--prefix", "行" * 51), "at most 150 bytes"),
        (("--seed", "9" * 30), "is not a whole number from 0 to 9223372036854775807"),
        (("--epochs", "9" * 30), "is not a whole number from 1 to 2147483647"),
        (("--decay_epoch", "1" * 30), "--decay_epoch"),
        (("--decay_epoch", "1e3"), "'1e3' is no list of epochs; give whole numbers, as in \"(20,40)\""),
        (("--decay_epoch", "(20]"), "'(20]' is no list of epochs"),
        (("--lr", "fast"), "'fast' is not a number above 0"),
        (("--weight_decay", "nan"), "'nan' is not a number from 0 on"),
        (("--workers", "many"), "is not a whole number"),
        (("--resume", "a", "--init_from", "b", "--pretrained", "c"),
         "--resume and --init_from and --pretrained: give only one of them"),
        (("--attributes", "a"), "--attributes goes with --experiment custom"),
        (("--width", "8"), "'8' is not a whole number from 16 to 4096"),
        (("--width", "64", "--approach", "baseline"),
         "--width is of the lateral layers, and baseline has none; leave it out"),
        (("--warmup", "1"), "'1' is not a number from 0 to below 1"),
        (("--schedule", "cosine", "--decay_epoch", "20"),
         "--decay_epoch is of --schedule step, and cosine falls by itself; leave one out"),
        (("--freeze", "3"),
         "--freeze 3 leaves the first stages as they start, and from scratch that is at random; name"),
        (("-e",), "-e needs --resume FILE"),
        (("--predictions", "a.csv"), "--predictions goes with -e: give it the checkpoint to evaluate"),
        (("-e", "--resume", "a", "--predictions", "/no/such/a.csv"),
         "--predictions /no/such/a.csv: there is no such directory"),
        (("-e", "--resume", "a", "--predictions", "/"), "--predictions /: that is a directory; name a file"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(capsys, words, message):
    said = refused(capsys, "--experiment", "peta", *words)
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("made", [True, False])
def test_a_file_may_be_written_in_the_directory_that_the_run_makes(capsys, tmp_path, made):
    run = tmp_path / "run"
    if made:
        run.mkdir()
    words = ("--experiment", "peta", "--output_dir", run)
    for name in ("json", "report", "fingerprint", "log_json"):
        assert getattr(options_of(*words, f"--{name}", run / "a")[0], name) == str(run / "a")
        for place in (run / "more" / "a", tmp_path / "other" / "a"):
            assert f"--{name} {place}: there is no such directory" in refused(
                capsys, *words, f"--{name}", place
            )


@pytest.mark.parametrize("option", ["--resume", "--init_from"])
def test_of_a_directory_one_of_its_checkpoints_is_named(capsys, tmp_path, option):
    said = refused(capsys, "--experiment", "peta", option, tmp_path)
    assert f"argument {option}: {tmp_path} is a directory, and holds no checkpoint; name a file" in said
    for age, name in ((10, "20.pth.tar"), (20, "9.pth.tar")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    said = refused(capsys, "--experiment", "peta", option, tmp_path)
    newest = tmp_path / "20.pth.tar"
    assert f"{tmp_path} is a directory; name one of its checkpoints, such as {newest}, its newest" in said
