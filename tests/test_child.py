"""The process that serves other tests survives what happens in them."""

import os
import sys
import time

import numpy as np
import pytest
from joblib import Parallel, delayed

from tests._child import Child, ChildFailed


def double(send, number):
    sys.stdout.write("what a job prints is no answer")
    send(2 * number)
    send(np.full(10**6, number))


def fail(send):
    send("one answer")
    raise KeyError("no such thing")


def hang(send):
    time.sleep(60)


def die(send):
    os._exit(3)


@pytest.fixture
def server():
    server = Child()
    yield server
    server.stop()


def doubled(server, number):
    twice, many = server.run("tests.test_child:double", number)
    assert many.shape == (10**6,)
    return twice


def test_one_process_serves_many_jobs(server):
    assert [doubled(server, k) for k in range(3)] == [0, 2, 4]
    assert server.starts == 1


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("fail", "KeyError: 'no such thing'"),
        ("hang", "no answer for 0.5 seconds"),
        ("die", "ended its process with 3"),
        ("missing", "has no attribute 'missing'"),
    ],
)
def test_a_job_that_fails_does_not_spoil_the_next(server, job, words):
    assert doubled(server, 1) == 2
    with pytest.raises(ChildFailed, match=words):
        patience = 0.5 if job == "hang" else 60
        list(server.run(f"tests.test_child:{job}", patience=patience))
    assert doubled(server, 2) == 4


def test_a_process_that_died_between_jobs_is_replaced(server):
    assert doubled(server, 1) == 2
    server._process.kill()
    server._process.wait()
    assert doubled(server, 2) == 4
    assert server.starts == 2


def test_a_job_left_in_the_middle_is_ended(server):
    answers = server.run("tests.test_child:double", 1)
    assert next(answers) == 2
    answers.close()
    assert doubled(server, 3) == 6


def refuse(number):
    raise KeyError(number)


def test_what_a_task_raises_is_raised_here():
    with pytest.raises(KeyError, match="7"):
        Parallel(n_jobs=2)(delayed(refuse)(7) for _ in range(2))


def test_tasks_run_elsewhere_without_a_pool_of_their_own():
    places = Parallel(n_jobs=2)(delayed(lambda: os.getpid())() for _ in range(3))
    assert len(set(places)) == 1 and places[0] != os.getpid()
