"""Compiled programs are kept where it is asked for, and a setting of one's own stays."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import compiled_programs
from flatvol_jax.runtime.compiled_programs import (
    default_folder,
    keep_compiled_programs,
    release_programs,
)

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture
def settings_come_back():
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    with contextlib.ExitStack() as stack:
        stack.callback(compiled_programs._forget_the_folder_before)
        for name, value in before.items():
            stack.callback(jax.config.update, name, value)
        yield before


def test_a_folder_that_is_set_already_stays(settings_come_back):
    assert keep_compiled_programs() == str(settings_come_back["jax_compilation_cache_dir"])
    assert {name: getattr(jax.config, name) for name in SETTINGS} == settings_come_back


def test_a_program_is_written_where_it_is_asked_for(settings_come_back, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled_programs, "_LEAST_SECONDS", 0.0)
    folder = tmp_path / "programs"
    assert fv.keep_compiled_programs(folder) == str(folder)
    jax.jit(lambda x: jnp.linalg.cholesky(x) @ x + 17.0)(jnp.eye(3)).block_until_ready()
    assert any(folder.iterdir())


def test_without_a_folder_it_is_the_users_own(settings_come_back, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    assert keep_compiled_programs() == str(default_folder())
    assert default_folder().parent == tmp_path / "flatvol_jax"


def test_without_a_home_that_can_be_written_nothing_is_kept(
    settings_come_back, tmp_path, monkeypatch
):
    jax.config.update("jax_compilation_cache_dir", None)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # which holds no folder
    assert keep_compiled_programs() is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", unknown_home)
    assert keep_compiled_programs() is None
    assert jax.config.jax_compilation_cache_dir is None


def unknown_home():
    raise RuntimeError("Could not determine home directory.")


def test_turned_off_it_makes_no_folder(settings_come_back, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    assert keep_compiled_programs() is None
    assert not any(tmp_path.iterdir())


def test_another_processor_has_another_folder(tmp_path, monkeypatch):
    folders = []
    for abilities in ("flags : sse2 avx2", "flags : sse2"):
        (tmp_path / "cpuinfo").write_text(abilities)
        monkeypatch.setattr(compiled_programs, "_CPU_INFO", tmp_path / "cpuinfo")
        folders.append(default_folder())
    assert folders[0] != folders[1]


@pytest.mark.skipif(not compiled_programs._MAPS.exists(), reason="only Linux counts maps so")
def test_programs_are_dropped_beyond_a_share_of_the_memory_maps_and_compiled_again():
    programs = [jax.jit(lambda x, power=power: jnp.sinh(x) ** power) for power in range(20)]
    values = [float(program(2.0)) for program in programs]
    before = len(compiled_programs._MAPS.read_text().splitlines())
    assert not release_programs(share=1.0)
    assert all(program._cache_size() for program in programs)
    assert release_programs(share=0.0)
    assert not any(program._cache_size() for program in programs)
    assert len(compiled_programs._MAPS.read_text().splitlines()) < before
    assert [float(program(2.0)) for program in programs] == values


def test_where_maps_are_not_counted_nothing_is_dropped(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled_programs, "_MAPS", tmp_path / "none")
    assert not release_programs(share=0.0)
