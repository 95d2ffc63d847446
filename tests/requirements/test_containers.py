"""The images' recipes name what is there. Nothing is built here."""

import re
import subprocess
import tomllib

import pytest
import yaml

from rlvr_dynamics.system.installation import HOME
from slurm.site import check_site

RECIPES = {
    name: (HOME / "containers" / name).read_text() for name in ("Dockerfile", "apptainer.def")
}
EXAMPLE = (HOME / "slurm" / "site.example.yaml").read_text()


def copied(name):
    """Return what a recipe copies into the image."""
    if name == "Dockerfile":
        lines = re.findall(r"^COPY (.+)$", RECIPES[name], re.MULTILINE)
        return {word for line in lines for word in line.split()[:-1]}
    section = RECIPES[name].partition("%files\n")[2].partition("\n\n")[0]
    pairs = [line.split() for line in section.splitlines()]
    assert all(target == f"/opt/rlvr_dynamics/{source}" for source, target in pairs)
    return {source for source, _ in pairs}


def test_both_images_get_what_an_installation_reads():
    found = copied("Dockerfile")
    assert found == copied("apptainer.def")
    assert [name for name in found if not (HOME / name).exists()] == []
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "setup.py", "configs"} <= found


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_installs_the_locked_set_and_the_package_itself(name, tmp_path):
    (line,) = re.findall(r"make EXTRA.*$", RECIPES[name], re.MULTILINE)
    default = re.search(r"EXTRA=(cpu|gpu)$", RECIPES[name], re.MULTILINE)[1]
    for extra in (default, "cpu", "gpu"):
        typed = re.sub(r'EXTRA="[^"]+"', f"EXTRA={extra}", line)
        typed = re.sub(r'TORCH_INDEX="[^"]+"', "TORCH_INDEX=", typed)
        for each in copied(name):
            (tmp_path / each).exists() or (tmp_path / each).symlink_to(HOME / each)
        command = ["make", "--dry-run", *typed.split()[1:]]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert f"-c requirements/{extra}.txt  '.[{extra},dev]'" in done.stdout
        assert (HOME / "requirements" / f"{extra}.txt").is_file()


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_starts_the_one_command(name):
    scripts = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["scripts"]
    (started,) = re.findall(r'^ENTRYPOINT \["(.+)"\]|^    exec (\S+)', RECIPES[name], re.MULTILINE)
    assert "".join(started) in scripts
    venv = "/opt/rlvr_dynamics/.venv/bin"
    assert f"PATH={venv}:$PATH" in RECIPES[name]


def test_the_example_of_a_site_can_name_the_image():
    (line,) = re.findall(r"^# (container: .+)$", EXAMPLE, re.MULTILINE)
    site = check_site(yaml.safe_load(line) | {"python": "python"}, "site.example.yaml")
    assert site.command[-2].endswith(".sif")
    assert site.command[-1] == "python"
