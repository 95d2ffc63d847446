"""Which packages a wheel has: all inside rlvr_dynamics. pyproject.toml has everything else."""

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import editable_wheel

BESIDE = ("analysis", "experiments", "slurm")  # the package in a checkout; inside it in a wheel
OWN = find_packages(include=["rlvr_dynamics", "rlvr_dynamics.*"])
OTHERS = find_packages(include=[*BESIDE, *(f"{name}.*" for name in BESIDE)])


class EditableWheel(editable_wheel):
    """An editable installation leaves the packages their names and places."""

    def finalize_options(self) -> None:
        """Take the packages as they lie in the checkout."""
        self.distribution.packages = [*OWN, *OTHERS]
        self.distribution.package_dir = {}
        super().finalize_options()


setup(
    packages=[*OWN, *(f"rlvr_dynamics.{name}" for name in (*OTHERS, "configs"))],
    package_dir={f"rlvr_dynamics.{name}": name for name in (*BESIDE, "configs")},
    cmdclass={"editable_wheel": EditableWheel},
)
