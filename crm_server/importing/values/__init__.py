"""From the text of a cell to the value of a field.

``styles`` looks at a whole column first (are these days before months? is the comma a decimal point?), then
``convert.build_converter`` gives one function per field that the engine calls for each row.
"""
