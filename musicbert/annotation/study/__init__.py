"""Tables of ratings of any study: their layouts, exports of survey tools, files of dimensions and pieces."""
