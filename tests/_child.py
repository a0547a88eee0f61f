"""A process that runs jobs for the tests, one after another.

Starting an interpreter and importing torch costs more than most jobs, so one process
serves them all. It may hang or die in one job: :meth:`Child.run` then raises
``ChildFailed`` and the next job gets a new process.

A job is a function ``function(send, *arguments)``, named as ``"module:function"``; what
it sends comes out of :meth:`Child.run` one by one.
"""

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from importlib import import_module
from pathlib import Path

from joblib._parallel_backends import ParallelBackendBase

try:
    import cloudpickle
except ImportError:  # joblib brought its own before 1.6
    from joblib.externals import cloudpickle

ROOT = Path(__file__).parents[1]


class ChildFailed(AssertionError):
    """The job raised, hung, or ended its process."""


class Child:
    """The parent's side. ``patience`` are the seconds to wait for one answer."""

    def __init__(self):
        self._process = None
        self.starts = 0

    def run(self, function, *arguments, patience=120):
        """Run a job and yield what it sends."""
        self._start()
        try:
            pickle.dump((function, arguments), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died between two jobs, which the first answer tells
        done = False
        try:
            while True:
                kind, value = self._answer(function, patience)
                done = kind != "item"
                if kind == "error":  # the process goes on
                    raise ChildFailed(f"{function} raised in its process:\n{value}")
                if kind == "done":
                    return
                yield value
        finally:
            if not done:
                self.stop()

    def _start(self):
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        self.starts += 1
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests._child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            # another order of sets than the parent's, which no answer may depend on
            env={**os.environ, "PYTHONHASHSEED": "1"},
        )
        self._answers = queue.Queue()
        threading.Thread(
            target=_listen, args=(self._process.stdout, self._answers), daemon=True
        ).start()

    def _answer(self, function, patience):
        try:
            answer = self._answers.get(timeout=patience)
        except queue.Empty:
            raise ChildFailed(
                f"{function} gave no answer for {patience} seconds; its process is "
                "ended."
            ) from None
        if answer is None:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")[-3000:]
            raise ChildFailed(
                f"{function} ended its process with {self._process.returncode}:\n{said}"
            )
        return answer

    def stop(self):
        """End the process; the next job starts a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._errors.close()
            self._process = None


class ChildBackend(ParallelBackendBase):
    """Run the tasks of joblib in the child: pickled, elsewhere, without a new pool."""

    child: Child
    # estimators inside may ask for one; their own loops stay sequential
    supports_return_generator = True

    def effective_n_jobs(self, n_jobs):
        return 1 if n_jobs in (None, 1) else 2

    def submit(self, function, callback=None):
        (result,) = self.child.run("tests._child:call", cloudpickle.dumps(function))
        answer = _Answer(*result)
        if callback is not None:
            callback(answer)
        return answer

    apply_async = submit  # its name before joblib 1.5


class _Answer:
    def __init__(self, value, error):
        self.value, self.error = value, error

    def get(self, timeout=None):
        if self.error is not None:
            raise self.error
        return self.value


def call(send, pickled):
    """The job of a task of joblib; what it raises is raised where it was asked for."""
    try:
        value, error = pickle.loads(pickled)(), None
    except Exception as raised:
        value, error = None, raised
    send((value, error))


def _listen(stream, answers):
    """Put what comes in into a queue, and None at the end."""
    with stream:
        while True:
            try:
                answers.put(pickle.load(stream))
            except Exception:  # the end, or half an answer of a process that died
                answers.put(None)
                return


def serve():
    """The child's side: run jobs until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a job prints must not end up among the answers

    def tell(kind, value):
        answers.write(pickle.dumps((kind, value)))
        answers.flush()

    while True:
        try:
            path, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        module, _, name = path.partition(":")
        try:
            function = getattr(import_module(module), name)
            function(lambda value: tell("item", value), *arguments)
        except Exception:
            tell("error", traceback.format_exc())
        else:
            tell("done", None)


if __name__ == "__main__":
    serve()
