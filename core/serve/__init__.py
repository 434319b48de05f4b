"""The resident engine: base model and adapters stay in memory, and any mix of them answers at once, without a merge.

resident.py (light) finds, starts and stops it; client.py (light) talks to it. process.py is its process, app.py its HTTP side,
openai.py the part of it that OpenAI's clients know: chat.py reads their requests, offered.py names the models, refusals.py the errors.
engine.py is the one thread that computes: answers.py holds the answers under way (saying.py tells their text),
losses.py the losses; mixes.py makes what a request asks for into weights over adapters of the bank.
rag.py searches a folder of documents, and asks the engine for answers with what it found.
"""
