"""A process is started once, waited for, and ended with everything it left behind; strangers are left alone."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import pytest

from stack import marks, processes
from stack.ports import PortTaken, is_free, next_free
from stack.processes import NotStarted, Program

WAITS_FOR_EVER = "import time; print('here I am', flush=True); time.sleep(600)"
LEAVES_A_CHILD_IN_A_SESSION_OF_ITS_OWN = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {WAITS_FOR_EVER!r}], start_new_session=True)
{WAITS_FOR_EVER}
"""


def program(code: str, name: str = "sleeper", **options) -> Program:
    return Program(name, [sys.executable, "-c", code], **{"ready": lambda: True, **options})


def said(name: str, data_dir: Path, words: str) -> bool:
    return words in processes.log_path(name, data_dir).read_text()


def until(condition, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    """Gone, or a zombie that nobody has fetched yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def write_pid(name: str, pid: int, data_dir: Path) -> Path:
    path = processes.pid_path(name, data_dir)
    path.parent.mkdir()
    path.write_text(f"{pid}\n")
    return path


@pytest.fixture
def shown_later(data_dir):
    """A process that has no environment at first, as every process for a moment, and then carries the mark."""
    mark = f"{marks.VARIABLE}={marks.of('sleeper', data_dir)}"
    becomes = f'read word; exec env "{mark}" "{sys.executable}" -c "{WAITS_FOR_EVER}"'
    process = subprocess.Popen(["/bin/sh", "-c", becomes], env={}, stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def bare():
    """A process with an empty environment for ever, as kernel threads are."""
    process = subprocess.Popen(["/bin/sleep", "600"], env={})
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def data_dir(tmp_path):
    yield tmp_path
    processes.stop(processes.names(tmp_path), tmp_path, patience_s=1)


def test_a_started_process_has_a_pid_file_and_a_log(data_dir):
    processes.start(program(WAITS_FOR_EVER), data_dir)

    pid = int((data_dir / "run" / "sleeper.pid").read_text())
    assert psutil.Process(pid).is_running()
    until(lambda: said("sleeper", data_dir, "here I am"))


def test_a_process_that_runs_is_not_started_again(data_dir):
    first = processes.start(program(WAITS_FOR_EVER), data_dir)
    pid = processes.running("sleeper", data_dir).pid

    second = processes.start(program(WAITS_FOR_EVER), data_dir)

    assert (first, second) == (True, False)
    assert processes.running("sleeper", data_dir).pid == pid


def test_a_process_that_ends_before_it_is_ready_is_reported_with_the_end_of_its_log(data_dir):
    doomed = program("print('the disk is full'); raise SystemExit(3)", ready=lambda: False)
    processes.start(doomed, data_dir)

    with pytest.raises(NotStarted, match=r"(?s)sleeper ended before it was ready.*sleeper\.log:.*the disk is full"):
        processes.await_ready(doomed, data_dir)


def test_a_process_that_never_answers_is_reported_after_its_time(data_dir):
    mute = program(WAITS_FOR_EVER, ready=lambda: False, ready_within_s=0.3)
    processes.start(mute, data_dir)

    with pytest.raises(NotStarted, match="sleeper was not ready after 0 s"):
        processes.await_ready(mute, data_dir)


def test_stop_ends_children_that_left_the_process_group(data_dir):
    processes.start(program(LEAVES_A_CHILD_IN_A_SESSION_OF_ITS_OWN), data_dir)
    parent = processes.running("sleeper", data_dir)
    until(parent.children)
    [child] = parent.children()

    stopped = processes.stop(["sleeper"], data_dir)

    assert stopped == ["sleeper"]
    assert ended(parent)
    assert ended(child)
    assert processes.names(data_dir) == []


def test_stop_finds_what_a_killed_process_left_behind(data_dir):
    processes.start(program(LEAVES_A_CHILD_IN_A_SESSION_OF_ITS_OWN), data_dir)
    parent = processes.running("sleeper", data_dir)
    until(parent.children)
    [child] = parent.children()
    parent.kill()
    until(lambda: processes.running("sleeper", data_dir) is None)

    processes.stop(processes.names(data_dir), data_dir, patience_s=1)

    assert ended(child)


def test_a_process_that_shows_no_environment_yet_keeps_its_pid_file(data_dir, shown_later):
    pid_file = write_pid("sleeper", shown_later.pid, data_dir)

    assert processes.running("sleeper", data_dir) is None
    shown_later.stdin.write(b"go on\n")
    shown_later.stdin.flush()
    until(lambda: processes.running("sleeper", data_dir) is not None)
    assert pid_file.read_text() == f"{shown_later.pid}\n"


def test_a_process_that_never_shows_an_environment_is_nobody_of_ours_and_is_left_alone(data_dir, bare):
    pid_file = write_pid("sleeper", bare.pid, data_dir)

    assert processes.running("sleeper", data_dir) is None
    assert pid_file.exists()
    assert processes.stop(["sleeper"], data_dir, patience_s=1) == []
    assert bare.poll() is None
    assert not pid_file.exists()


def test_asking_whether_a_process_runs_changes_no_pid_file(data_dir):
    pid_file = write_pid("sleeper", os.getpid(), data_dir)  # recycled: this very test

    assert processes.running("sleeper", data_dir) is None
    assert pid_file.exists()


def test_a_child_that_ended_and_was_not_fetched_does_not_run(data_dir):
    processes.start(program(""), data_dir)
    pid = int(processes.pid_path("sleeper", data_dir).read_text())
    until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)  # while it ends, it shows no mark and is none yet

    assert processes.running("sleeper", data_dir) is None
    assert processes.start(program(WAITS_FOR_EVER), data_dir)
    assert processes.running("sleeper", data_dir).pid != pid


def test_two_starts_at_once_start_one_process(data_dir):
    code = (
        "import sys; from pathlib import Path; from stack import processes; "
        f"one = processes.Program('sleeper', [sys.executable, '-c', {WAITS_FOR_EVER!r}], ready=lambda: True); "
        f"print(processes.start(one, Path({str(data_dir)!r})))"
    )
    rivals = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]

    said = sorted(rival.communicate(timeout=60)[0].strip() for rival in rivals)

    assert said == ["False", "False", "True"]
    assert list(marks.holders({marks.of("sleeper", data_dir): "sleeper"})) == [processes.running("sleeper", data_dir)]


def test_a_stop_waits_for_the_start_that_is_under_way(data_dir):
    formatting, may_go_on = threading.Event(), threading.Event()

    def prepare() -> None:
        formatting.set()
        assert may_go_on.wait(20)

    slow = program(WAITS_FOR_EVER, prepare=prepare)
    with ThreadPoolExecutor(2) as threads:
        started = threads.submit(processes.start, slow, data_dir)
        assert formatting.wait(20)
        stopped = threads.submit(processes.stop, ["sleeper"], data_dir)
        wait([stopped], timeout=0.3)  # long enough to come back with nothing, if it did not wait
        may_go_on.set()

        assert started.result(30)
        assert stopped.result(30) == ["sleeper"]
    assert processes.names(data_dir) == []


def test_stop_asks_what_one_crash_left_behind_while_the_others_still_run(data_dir):
    obeys = f"import signal; signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), exit(0))); {WAITS_FOR_EVER}"
    leaves_it = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {obeys!r}]); {WAITS_FOR_EVER}"
    processes.start(program(leaves_it, "archive"), data_dir)
    processes.start(program(WAITS_FOR_EVER, "fold"), data_dir)
    until(lambda: processes.log_path("archive", data_dir).read_text().count("here I am") == 2)
    crashed = processes.running("archive", data_dir)
    crashed.kill()
    until(lambda: processes.running("archive", data_dir) is None)

    stopped = processes.stop(["fold", "archive"], data_dir)

    assert stopped == ["fold", "archive"]
    assert said("archive", data_dir, "asked")


def test_a_stale_pid_file_that_names_a_stranger_harms_nobody(data_dir):
    pid_file = data_dir / "run" / "kafka.pid"
    pid_file.parent.mkdir()
    pid_file.write_text(f"{os.getpid()}\n")  # a recycled pid: this very test

    stopped = processes.stop(processes.names(data_dir), data_dir)

    assert stopped == []
    assert not pid_file.exists()


def test_a_killed_process_starts_again(data_dir):
    processes.start(program(WAITS_FOR_EVER), data_dir)
    killed = processes.running("sleeper", data_dir)
    killed.kill()
    until(lambda: processes.running("sleeper", data_dir) is None)

    assert processes.start(program(WAITS_FOR_EVER), data_dir)
    assert processes.running("sleeper", data_dir).pid != killed.pid


def test_stacks_with_other_data_directories_do_not_see_each_other(data_dir):
    mine, yours = data_dir / "mine", data_dir / "yours"
    processes.start(program(WAITS_FOR_EVER), mine)
    processes.start(program(WAITS_FOR_EVER), yours)

    try:
        assert processes.stop(processes.names(mine), mine, patience_s=2) == ["sleeper"]
        assert processes.running("sleeper", yours) is not None
    finally:
        processes.stop(["sleeper"], yours, patience_s=1)


def test_each_start_begins_a_new_log_and_keeps_the_one_before(data_dir):
    for words in ("first start", "second start"):
        processes.start(program(f"print({words!r})"), data_dir)
        until(lambda: processes.running("sleeper", data_dir) is None)

    assert processes.log_path("sleeper", data_dir).read_text() == "second start\n"
    assert (data_dir / "logs" / "sleeper.previous.log").read_text() == "first start\n"


def test_a_port_in_use_names_its_setting_and_a_free_port(data_dir):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]

        with pytest.raises(PortTaken, match=f"Port {port} .*REDIS_PORT=") as refusal:
            processes.start(program(WAITS_FOR_EVER, ports={port: "REDIS_PORT"}), data_dir)

        proposed = int(str(refusal.value).rpartition("REDIS_PORT=")[2].rstrip("."))
        assert is_free(proposed)
        assert proposed == next_free(port)
    assert processes.names(data_dir) == []
