import json

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.recipes import DEFAULT_TASK, TASKS
from dlsuite.recipes.gan import Gan, GanModel, GanOptimizer, GanSchedule, Pixels
from dlsuite.recipes.resolve import json_schema, parse_setting, recipe_names, resolve, to_toml
from dlsuite.recipes.schema import Data

SHIPPED = {
    "mnist-cnn",
    "mnist-mlp",
    "fashion-cnn",
    "cifar10-resnet20",
    "cifar10-plain20",
    "imagenet-alexnet",
    "imagenet-vgg16",
    "imagenet-resnet50",
    "finetune-folder",
    "mnist-dcgan",
    "fashion-dcgan",
    "cosmogan",
    "cosmogan-64",
    "cosmogan-64-spectral",
}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_every_promised_recipe_ships():
    assert set(recipe_names()) >= SHIPPED


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_it_is(name):
    about = resolve(name).recipe.about
    assert about.description and about.source and about.expected
    assert about.command.startswith("dlsuite train")
    assert about.evidence in ("measured", "paper", "untested")


@pytest.mark.parametrize("name", recipe_names())
def test_printed_toml_resolves_to_the_same_recipe(name, tmp_path):
    resolved = resolve(name, options={"epochs": 7})
    saved = write(tmp_path / "saved.toml", to_toml(resolved))
    assert resolve(saved).recipe == resolved.recipe


def test_cosmogan_is_as_published():
    """Beyond the defaults, what the authors' code sets; the networks' options are its defaults."""
    recipe = resolve("cosmogan").recipe
    assert recipe.data == Data(name="convergence_maps/256")
    assert recipe.model == GanModel(name="cosmogan", latent_dim=64, width=64)
    # -log D for the generator, one update of each, no penalty and no smoothed label
    assert recipe.gan == Gan(loss="non_saturating", critic_steps=1, label_flip=0.01)
    # the convergence as it is
    assert recipe.pixels == Pixels(transform="scale", scale=1.0)
    adam = {"learning_rate": 2e-4, "beta_1": 0.5, "beta_2": 0.999, "epsilon": 1e-8}
    assert recipe.optimizer == GanOptimizer(name="adam", ema_decay=None, **adam)
    assert recipe.schedule == GanSchedule(name="constant")
    assert (recipe.train.batch_size, recipe.train.epochs) == (64, 50)


def test_layers_win_in_order_and_every_value_says_its_origin(tmp_path):
    path = write(tmp_path / "mine.toml", "[train]\nepochs = 4\nbatch_size = 16\n")
    resolved = resolve(path, options={"epochs": 5}, settings={"train.seed": 6})
    assert resolved.name == "mine"
    train = resolved.recipe.train
    assert (train.epochs, train.batch_size, train.seed) == (5, 16, 6)
    origins = resolved.origins
    assert origins["train.epochs"] == "--epochs"
    assert origins["train.batch_size"] == f"file {path}"
    assert origins["train.seed"] == "--set"
    assert origins["train.precision"] == "default"
    comments = to_toml(resolved)
    assert "epochs = 5 # --epochs" in comments
    assert 'precision = "float32" # default' in comments


def test_tables_in_a_list_say_their_origin_and_come_back(tmp_path):
    path = write(
        tmp_path / "mine.toml",
        "[schedule]\nname = 'sequence'\n[[schedule.phases]]\nname = 'constant'\nepochs = 2\n"
        "[[schedule.phases]]\nname = 'cosine'\n",
    )
    resolved = resolve(path)
    printed = to_toml(resolved)
    assert f"epochs = 2 # file {path}" in printed
    # a key behind the tables would belong to the last of them
    assert printed.index("warmup_epochs") < printed.index("[[schedule.phases]]")
    saved = write(tmp_path / "saved.toml", printed)
    assert resolve(saved).recipe == resolved.recipe


def test_another_optimizer_displaces_the_recipes_options_and_says_so():
    resolved = resolve("cifar10-resnet20", options={"optimizer": "adam", "learning_rate": 0.01})
    assert resolved.recipe.optimizer.name == "adam"
    assert resolved.recipe.optimizer.learning_rate == 0.01
    assert resolved.recipe.optimizer.weight_decay is None
    assert "weight_decay" in resolved.notes[0] and "'momentum'" in resolved.notes[0]


def test_a_table_without_a_name_belongs_to_the_tasks_own_choice(tmp_path):
    path = write(tmp_path / "mine.toml", "[optimizer]\nweight_decay = 0.05\n")
    named = resolve(path).recipe.optimizer.name
    resolved = resolve(path, options={"optimizer": "sgdw"})
    assert resolved.recipe.optimizer.weight_decay is None
    assert f"the recipe's weight_decay belonged to '{named}'" in resolved.notes[0]
    assert resolve(path, options={"optimizer": named}).recipe.optimizer.weight_decay == 0.05


def test_the_same_optimizer_named_again_displaces_nothing():
    resolved = resolve("cifar10-resnet20", options={"optimizer": "momentum"})
    assert resolved.recipe == resolve("cifar10-resnet20").recipe
    assert not resolved.notes


@pytest.mark.parametrize(
    ("name", "kept", "gone"),
    [
        ("mine.keras", {"frozen": True, "dropout": 0.3}, "weights"),
        ("keras:ResNet50", {"weights": "random", "frozen": True, "dropout": 0.3}, None),
        ("resnet20", {}, "weights, frozen, dropout"),
    ],
)
def test_pretrained_networks_share_what_they_have_in_common(name, kept, gone, tmp_path):
    text = '[model]\nname = "keras:MobileNetV2"\nweights = "random"\nfrozen = true\ndropout = 0.3\n'
    resolved = resolve(write(tmp_path / "mine.toml", text), options={"model": name})
    assert resolved.recipe.model.options == kept
    said = " ".join(resolved.notes)
    assert f"the recipe's {gone} belonged to 'keras:MobileNetV2'" in said if gone else not said


def test_fine_tuning_stays_frozen_on_a_file_of_ones_own():
    resolved = resolve("finetune-folder", options={"model": "mine.keras"})
    assert resolved.recipe.model.options == {"frozen": True}
    assert resolved.recipe.data.normalize == "imagenet"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.epochs=3", ("train.epochs", 3)),
        ("optimizer.name=adam", ("optimizer.name", "adam")),
        ("model.hidden=[8, 4]", ("model.hidden", [8, 4])),
        ("data.name=folder:a=b", ("data.name", "folder:a=b")),
    ],
)
def test_a_setting_is_toml_or_a_bare_string(text, expected):
    assert parse_setting(text) == expected


def test_a_setting_without_equals_sign_is_refused():
    with pytest.raises(DlsuiteError, match=r"section.key=value. Received: 'train.epochs'"):
        parse_setting("train.epochs")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train.epoch": 3}, ["Unknown key of [train]", "'epoch'", "'epochs'"]),
        ({"trian.epochs": 3}, ["'trian'", "'train'"]),
        ({"train": 3}, ["a whole section"]),
        ({"train.epochs": 0}, ["greater than or equal to 1", "Received: 0", "train.epochs"]),
        ({"train.epochs": -2}, ["Received: -2", "at least 1"]),
        ({"train.epochs": "many"}, ["valid integer", "'many'"]),
        ({"train.epochs": True}, ["valid integer", "True"]),
        ({"train.batch_size": 0}, ["Received: 0", "train.batch_size"]),
        ({"data.image_size": 0}, ["Received: 0", "data.image_size"]),
        ({"data.validation": -1}, ["Received: -1", "above 0 and below 1"]),
        ({"optimizer.learning_rate": -0.1}, ["greater than 0", "-0.1"]),
        ({"train.device": "tpu"}, ["'tpu'", "gpu:N"]),
        ({"train.precision": "float8"}, ["'float8'", "bfloat16"]),
        ({"data.augment.flip": "diagonal"}, ["'diagonal'", "horizontal"]),
        ({"data.augment.mixup": 0.2, "data.augment.cutmix": 1.0}, ["exclude each other"]),
    ],
)
def test_a_wrong_setting_names_key_rule_and_what_came(settings, words):
    with pytest.raises(DlsuiteError) as caught:
        resolve("mnist-cnn", settings=settings)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_key_in_a_file_names_file_key_and_nearest(tmp_path):
    path = write(tmp_path / "mine.toml", "[train]\nbatchsize = 8\n[data]\nsplit = 1\n")
    with pytest.raises(DlsuiteError) as caught:
        resolve(path)
    message = str(caught.value)
    for words in (f"file {path}", "train.batchsize", "'batch_size'", "data.split"):
        assert words in message


def test_unreadable_recipes_are_refused(tmp_path):
    with pytest.raises(DlsuiteError, match=r"Unknown recipe. Received: 'mnist-cn'.*'mnist-cnn'"):
        resolve("mnist-cn")
    with pytest.raises(DlsuiteError, match="No such file"):
        resolve(tmp_path / "none.toml")
    with pytest.raises(DlsuiteError, match="valid TOML"):
        resolve(write(tmp_path / "broken.toml", "[train\n"))


def test_json_schema_describes_every_section_of_every_task():
    schema = json_schema()
    json.dumps(schema)
    assert schema["properties"]["task"]["enum"] == list(TASKS)
    tasks = {branch["if"]["properties"]["task"]["const"]: branch for branch in schema["allOf"]}
    assert set(tasks) == set(TASKS)
    for name, branch in tasks.items():
        described = schema["$defs"][branch["then"]["$ref"].rpartition("/")[2]]
        assert set(described["properties"]) == set(TASKS.load(name).model_fields)
        assert described["additionalProperties"] is False
        # a recipe that names no task is one of the default task alone
        assert ("task" in branch["if"].get("required", [])) == (name != DEFAULT_TASK)
    assert schema["$defs"]["ClassificationTrain"]["properties"]["epochs"]["minimum"] == 1


def test_an_unknown_task_is_refused_with_the_tasks_there_are(tmp_path):
    path = write(tmp_path / "mine.toml", 'task = "clasification"\n')
    with pytest.raises(DlsuiteError, match=r"Unknown task .*mine\.toml.*'clasification'.*Did you"):
        resolve(path)
    with pytest.raises(DlsuiteError, match=r"Unknown task \(--set.*'3'.*Tasks: classification"):
        resolve("mnist-cnn", settings={"task": 3})


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("[data]\naugment = true\n", {"data.augment.flip": "horizontal"}, "augment=True"),
        ('[train]\n"log.every" = 5\n', {}, "Unknown recipe key. Received: 'log.every'"),
        ('"train.epochs" = 5\n', {}, "Unknown recipe key. Received: 'train.epochs'"),
    ],
)
def test_keys_that_are_no_sections_are_named(text, settings, words, tmp_path):
    with pytest.raises(DlsuiteError, match=words):
        resolve(write(tmp_path / "mine.toml", text), settings=settings)
