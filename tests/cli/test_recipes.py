import json
import os
import subprocess
import sys
import tomllib

from click.testing import CliRunner

from dlsuite.cli.main import cli
from dlsuite.recipes.resolve import recipe_names


def invoke(*arguments):
    result = CliRunner().invoke(cli, ["recipes", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_listing_names_every_recipe_with_its_evidence():
    text = invoke()
    listed = json.loads(invoke("--json"))["recipes"]
    assert [recipe["name"] for recipe in listed] == recipe_names()
    for recipe in listed:
        assert recipe["name"] in text
        assert recipe["evidence"] in ("measured", "paper", "untested")


def test_a_shown_recipe_is_toml_with_the_origin_of_each_value():
    text = invoke("show", "mnist-cnn", "--epochs", "5", "--set", "data.augment.flip=horizontal")
    tables = tomllib.loads(text)
    assert tables["train"]["epochs"] == 5
    assert "epochs = 5 # --epochs" in text
    assert 'flip = "horizontal" # --set' in text
    assert "# recipe mnist-cnn" in text and "# default" in text
    report = json.loads(invoke("show", "mnist-cnn", "--epochs", "5", "--json"))
    assert report["origins"]["train.epochs"] == "--epochs"
    assert report["recipe"]["train"]["epochs"] == 5


def test_what_gave_way_is_said_beside_the_recipe():
    result = CliRunner().invoke(cli, ["recipes", "show", "cifar10-resnet20", "--optimizer", "adam"])
    assert "weight_decay belonged to 'momentum'" in result.stderr
    assert tomllib.loads(result.stdout)["optimizer"]["name"] == "adam"


def test_the_schema_is_for_editors():
    assert "augment" in json.loads(invoke("schema"))["$defs"]["Data"]["properties"]


def test_completion_knows_verbs_recipes_and_networks():
    def complete(*words):
        environment = os.environ | {
            "_DLSUITE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["dlsuite", *words]),
            "COMP_CWORD": str(len(words)),
        }
        program = "from dlsuite.cli.main import cli; cli(prog_name='dlsuite')"
        process = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        return [line.split(",")[1] for line in process.stdout.splitlines()]

    assert complete("tr") == ["train"]
    assert complete("train", "mnist-") == ["mnist-cnn", "mnist-dcgan", "mnist-mlp"]
    assert "resnet20" in complete("train", "--model", "resnet2")
