"""vLLM as the second engine: started and watched as a process of its own, behind the same addresses as Lyceum's engine.

environment.py   where its Python is (make vllm)
shelf.py         what on disk it can answer as, and at which rank
command.py       how it is started
keeper.py        the process between us and it, so that it never outlives us
watched.py       starts it, waits for it, notices its death, starts it again
loras.py         adapters and merges, loaded on first use under the hash of their content
asking.py        one answer: what is sent, and the tokens that come back
engine.py        all of these for one base model
gateway.py       the HTTP side: OpenAI's API by the same code that stands before Lyceum's engine
"""
