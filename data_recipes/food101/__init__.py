"""The recipe `food101`: photographs of dishes beside the title or the text of the web page that they were found on."""
