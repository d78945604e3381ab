"""How does a run end when it is asked to? Ctrl-C and its siblings, noted until the run's state is on the disk."""
import signal
import sys
import threading

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # each system has some of them


class Interrupted(KeyboardInterrupt):
    """A signal ended the training: the message is the user's line, `status` the exit status, 128 + the signal."""

    def __init__(self, number, what):
        super().__init__(f"{signal.Signals(number).name} {what}")
        self.status = 128 + number


class Signals:
    """Within `with`: the first signal is kept in `number`, a second ends the process at once.

    What is ignored already (under nohup, in the background) stays so. Outside of the main thread nothing is caught.
    """

    def __init__(self):
        self.number, self.before, self.at_once, self.hook = None, {}, None, None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._note)
            self.hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python
        if self.hook:
            sys.unraisablehook = self.hook

    def _note(self, number, frame):
        self.number = number
        for each in self.before:
            signal.signal(each, signal.SIG_DFL)
        if self.at_once:
            self.at_once()  # raises where there is nothing to save: TensorFlow may be minutes from the first step's end

    def _unraisable(self, unraisable):
        """What `at_once` raised within a destructor, where Python drops it: the next step's end heeds `number`."""
        if not isinstance(unraisable.exc_value, Interrupted):
            self.hook(unraisable)
