"""Files of rows, as people have them: which kind a file is, told by its bytes, and its rows, one at a time.

CSV, TSV, JSON lines, a JSON array, a workbook of Excel and Parquet; text in UTF-8, UTF-16 or cp1252; the first three
kinds and arrays also inside gzip or ZIP. Nothing here holds a file in memory, or unpacks far more than what it is.
"""

from app.engine.rows.file import Row as Row
from app.engine.rows.file import TableFile as TableFile
from app.engine.rows.file import truth as truth
from app.engine.rows.reading import read_columns as read_columns
from app.engine.rows.reading import read_rows as read_rows
from app.engine.rows.reading import with_encoding as with_encoding
