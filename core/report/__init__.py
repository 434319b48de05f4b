"""The evidence bundle: one self-contained page, and a zip of what stands behind it.

sources.py gathers runs and tables; story.py, method.py, pictures.py, judges.py and outlook.py tell of them, a chapter each; markup.py
escapes all text; page.py puts the page together with page.css and page.js; verdict_data.py holds the verdict browser's rows;
archive.py makes the zip.
"""
