"""Compiled programs on disk: what one process has compiled, the next one reads."""

import gc
import hashlib
import os
import platform
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
# Dozens of small programs make a first call; JAX by itself keeps those that take a second.
_LEAST_SECONDS = 0.05


def keep_compiled_programs(folder: str | os.PathLike | None = None) -> str | None:
    """Keep compiled programs in a folder, so that the next process need not compile them again.

    It sets JAX's own persistent compilation cache, for the rest of the process. Where that is set
    already (`JAX_COMPILATION_CACHE_DIR`, `jax.config`) and no folder is given, nothing changes. The
    numbers are the same: a program is read only where its text, the versions of JAX and XLA and the
    processor are. `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.

    Args:
        folder: where; left out, `flatvol_jax` in the user's folder of caches (`XDG_CACHE_HOME`, or
            `~/.cache`), in a folder for this kind of processor. Where that cannot be written,
            nothing changes.

    Returns:
        The folder; None where there is none.
    """
    from flatvol_jax.runtime.precision import jax_config  # JAX, which a --help does without

    there = jax_config.jax_compilation_cache_dir
    if folder is None and there:
        return str(there)
    if folder is None:
        own = _writable_default() if jax_config.jax_enable_compilation_cache else None
        if own is None:
            return None
        chosen = str(own)
    else:
        chosen = str(Path(folder).expanduser().resolve())
    jax_config.update("jax_compilation_cache_dir", chosen)
    jax_config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    jax_config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if there != chosen:
        _forget_the_folder_before()
    return chosen


def release_programs(share: float = 0.5) -> bool:
    """Drop all compiled programs if this process has used a share of its memory maps.

    Linux allows a process 65,530 of them (`vm.max_map_count`), and each program on the CPU takes
    dozens. A study of many shapes would end with "LLVM compilation error: Cannot allocate memory"
    and a segmentation fault. What is needed again is read from the folder of
    `keep_compiled_programs`, or compiled. Where there are no such files, nothing is dropped.

    Args:
        share: of the maps that are allowed.

    Returns:
        Whether the programs were dropped.
    """
    try:
        allowed = int(_MOST_MAPS.read_text())
        used = _MAPS.read_bytes().count(b"\n")
    except (OSError, ValueError):
        return False
    if used <= share * allowed:
        return False
    import jax

    jax.clear_caches()
    gc.collect()
    return True


def default_folder() -> Path:
    """Return the user's folder for programs of this kind of processor."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "flatvol_jax" / f"compiled-{_processor()}"


def _writable_default() -> Path | None:
    """Return the user's folder, made where it is not there; None where it cannot be written."""
    try:
        folder = default_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is read-only, or none
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _processor() -> str:
    """Name the processor by what it can do: programs of another one may stop this one."""
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    abilities = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    known = f"{platform.machine()} {platform.processor()} {abilities}"
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _forget_the_folder_before() -> None:
    """Make JAX read its settings anew: it looks at them once, when it first compiles."""
    try:
        from jax.experimental.compilation_cache import compilation_cache
    except ImportError:  # then a folder that is set before the first compilation counts
        return
    compilation_cache.reset_cache()
