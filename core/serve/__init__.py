"""The resident engine: base model and adapters stay in memory, and any mix of them answers at once, without a merge.

Light: resident.py finds, starts and stops it, client.py talks to it, names.py says who answers.
Its process: process.py starts it, server.py ends it, guard.py lets requests in, application.py shapes errors (refusals.py).
Its addresses: app.py; openai.py those of OpenAI's API, asked as chat.py and plain.py say (drawing.py: what both share), answered as
replies.py says; offered.py knows the models; requests.py, rag.py, why.py and status.py are the rest.
Its one thread that computes: engine.py gives turns to answers.py (rows.py: one answer; saying.py: its text; token_scores.py: how
probable it was), losses.py and shares.py; mixes.py makes what a request asks for into weights over adapters of a bank (loaded.py).
vllm/ is the other engine behind the same addresses; computing.py is what they ask of either.
"""
