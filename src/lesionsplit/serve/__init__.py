"""`lesionsplit serve`: a node beside the PACS that receives series, predicts them and sends the results."""
