"""Stands in for slurm's srun: the program that follows its flags runs as so many tasks, as distributed.py is told."""

import os
import socket
import subprocess
import sys

MOST = 2  # tasks, however many were asked for
PORTS = 20_000  # where a run's meeting point is, and how many there are: the job's number says which


def free_job() -> int:
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if PORTS <= port < 2 * PORTS:
            return port - PORTS


def main() -> int:
    words = sys.argv[1:]
    begin = next(i for i, word in enumerate(words) if word.startswith("python"))
    wanted = int(words[words.index("--ntasks") + 1]) if "--ntasks" in words[:begin] else 1
    tasks, job = min(wanted, MOST), free_job()
    print(f"srun: {wanted} tasks, of which {tasks} run here")
    started = []
    for number in range(tasks):
        facts = {
            "PROCID": number,
            "LOCALID": number,
            "STEP_NUM_TASKS": tasks,
            "JOB_ID": job,
            "STEP_NODELIST": "localhost",
        }
        env = os.environ | {f"SLURM_{name}": str(value) for name, value in facts.items()}
        started.append(subprocess.Popen(words[begin:], env=env))
    return max(process.wait() for process in started)


if __name__ == "__main__":
    sys.exit(main())
