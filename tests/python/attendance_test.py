"""A session of the worker in Python over a scripted link: what it says, what it keeps, and that its
heart beats while the loop works."""
import queue
import threading
import time
import unittest

import support
import grpc
from rubato import RubatoError, protocol
from rubato.attendance import Attendance, Progress, RolledBack
from rubato.link import ControlStream

ToWorker = protocol.message("ToWorker")
Release = protocol.message("Release")


class Cut(grpc.RpcError):
    def __init__(self, code=grpc.StatusCode.UNAVAILABLE):
        super().__init__()
        self._code = code

    def code(self):
        return self._code

    def details(self):
        return "cut"


class Messages:
    """What the coordinator says on one stream, as the test puts it; an exception breaks it."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def __iter__(self):
        return self

    def __next__(self):
        message = self.queue.get()
        if message is None:
            raise StopIteration
        if isinstance(message, Exception):
            raise message
        return message

    def cancel(self):
        self.queue.put(Cut(grpc.StatusCode.CANCELLED))


class ScriptedLink:
    def __init__(self):
        self.sessions = []  # what the worker said on each
        self.stream = None

    def attend(self, messages):
        heard = []
        self.stream = Messages()  # there before anybody sees the session and speaks
        self.sessions.append(heard)
        threading.Thread(target=self._read, args=(messages, heard), daemon=True).start()
        return ControlStream(self.stream, None)

    @staticmethod
    def _read(messages, heard):
        for message in messages:
            heard.append(message)

    def says(self, **message):
        self.stream.queue.put(ToWorker(**message))

    def welcomes(self, *tasks):
        welcome = protocol.message("Welcome")(worker=len(self.sessions))
        for task in tasks:
            welcome.tasks.add(id=task)
        self.says(welcome=welcome)


class AttendanceTest(unittest.TestCase):
    def setUp(self):
        self.link = ScriptedLink()
        self.progress = Progress()
        self.attendance = Attendance(self.link, protocol.message("Hello")(run="r"), 0.02, 60,
                                     self.progress)
        self.addCleanup(self.attendance.close)
        self.assertTrue(support.eventually(lambda: self.link.sessions))

    def dispatches(self, task):
        self.link.says(dispatch=protocol.message("Dispatch")(task={"id": task}))

    def next_task(self):
        return self.attendance.next_task(lambda: False).id

    def cut(self, error=None):
        sessions = len(self.link.sessions)
        self.link.stream.queue.put(error or Cut())
        return support.eventually(lambda: len(self.link.sessions) > sessions and
                                  self.link.sessions[-1], 10)

    def test_its_heart_beats_while_the_loop_works(self):
        self.link.welcomes()
        self.attendance.wait_for_welcome()
        self.progress.task, self.progress.steps_done = 7, 2
        before = len(self.link.sessions[0])
        until = time.monotonic() + 1
        while time.monotonic() < until:  # Python that never waits
            sum(range(1000))
        beats = self.link.sessions[0][before:]
        self.assertGreater(len(beats), 10)
        self.assertEqual((beats[-1].heartbeat.task, beats[-1].heartbeat.steps_done), (7, 2))

    def test_after_a_cut_it_says_what_it_holds_and_learns_what_is_lost(self):
        self.link.welcomes(1)
        self.dispatches(2)
        self.dispatches(2)  # said twice, had once
        self.assertEqual([self.next_task(), self.next_task()], [1, 2])
        self.progress.has_state, self.progress.ns_per_step = True, 5
        self.assertTrue(self.cut())
        hello = self.link.sessions[-1][0].hello
        self.assertEqual((list(hello.held_tasks), hello.has_state, hello.ns_per_step),
                         ([1, 2], True, 5))
        self.assertTrue(self.attendance.is_wanted(1) and self.attendance.is_wanted(2))
        self.link.welcomes(2, 3)
        self.assertEqual(self.next_task(), 3)
        self.assertFalse(self.attendance.is_wanted(1))
        self.assertTrue(self.attendance.is_wanted(2))
        self.attendance.forget(2)
        self.assertTrue(self.cut())
        self.assertEqual(list(self.link.sessions[-1][0].hello.held_tasks), [1, 3])

    def test_what_waits_in_its_queue_can_be_taken_back(self):
        self.link.welcomes(1, 2)
        self.assertEqual(self.next_task(), 1)
        self.assertTrue(self.cut())
        self.link.welcomes(1)
        self.assertTrue(support.eventually(
            lambda: self.attendance.wait_for_welcome().worker == 2, 10))
        self.dispatches(4)
        self.assertEqual(self.next_task(), 4)

    def test_releases_say_why(self):
        self.link.welcomes()
        self.link.says(release=Release(why=Release.WHY_STOPPING, text="drained"))
        time.sleep(0.1)
        self.assertFalse(self.attendance.ended)
        self.link.says(release=Release(why=Release.WHY_EVICTED, text="by hand"))
        self.assertIsNone(self.attendance.next_task(lambda: False))
        self.assertRegex(str(self.attendance.error), "released by the coordinator: by hand")

    def test_the_end_of_the_run_is_no_error(self):
        self.link.welcomes(1)
        self.attendance.wait_for_welcome()
        self.link.says(release=Release(why=Release.WHY_FINISHED))
        self.assertTrue(support.eventually(lambda: self.attendance.ended, 10))
        self.assertIsNone(self.attendance.next_task(lambda: False))
        self.assertIsNone(self.attendance.error)
        self.assertFalse(self.attendance.is_wanted(1))

    def test_a_refusal_ends_it(self):
        self.link.stream.queue.put(Cut(grpc.StatusCode.FAILED_PRECONDITION))
        with self.assertRaises(RolledBack):
            self.attendance.wait_for_welcome()

    def test_what_breaks_inside_ends_it_too(self):
        with self.assertLogs("rubato", "ERROR"):
            self.link.stream.queue.put(ValueError("surprise"))
            with self.assertRaisesRegex(RubatoError, "surprise"):
                self.attendance.wait_for_welcome()

    def test_leaving_says_goodbye(self):
        self.link.welcomes(1)
        self.attendance.wait_for_welcome()
        self.attendance.leave("enough")
        self.assertEqual(self.link.sessions[0][-1].leave.reason, "enough")


if __name__ == "__main__":
    unittest.main(verbosity=2)
