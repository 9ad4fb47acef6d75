"""Turns objects that are not compressed from one transfer syntax into another while they are sent (PS3.5 10.1, A).

Open `converting` first: it walks over an object of any size, element by element, and writes each in the other syntax.
`syntaxes` says what can become what, `representation` which VR and unit of bytes a value has, `byte_stream` reads
pieces of any size in order, `inflating` undoes the deflated syntax (PS3.5 A.5).
"""
