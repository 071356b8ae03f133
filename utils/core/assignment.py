"""Who goes with whom: the pairs with the largest sum, exactly, in plain numpy."""

import numpy as np


def assign(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs whose gains (N, M) have the largest sum; nobody is in two pairs.

    A pair that gains nothing is no pair, so a gain of 0 or less forbids it.
    """
    if gains.shape[0] > gains.shape[1]:
        columns, rows = assign(gains.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    row_of = _cheapest(-np.maximum(gains, 0.0))  # (M), -1 for a column that is left
    columns = np.flatnonzero(row_of >= 0)
    rows = row_of[columns]
    paired = gains[rows, columns] > 0
    rows, columns = rows[paired], columns[paired]
    order = np.argsort(rows)
    return rows[order], columns[order]


def _cheapest(costs: np.ndarray) -> np.ndarray:
    """The row of each column (M) when every row of costs (N, M), N <= M, gets a column and the sum is the least.

    Rows are seated one at a time along the shortest path of exchanges (Jonker and Volgenant, 1987; Dijkstra's search on
    reduced costs). Prices keep the reduced costs of what is not yet searched from being negative.
    """
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        distance = np.full(columns, np.inf)
        before = np.full(columns, -1)  # the column whose row would move here
        searched = np.zeros(columns, bool)
        row, column, length = start, -1, 0.0
        while True:
            path = length + costs[row] - row_price[row] - column_price  # (M)
            shorter = ~searched & (path < distance)
            distance[shorter], before[shorter] = path[shorter], column
            column = int(np.where(searched, np.inf, distance).argmin())
            length = distance[column]
            if row_of[column] < 0:
                break
            searched[column] = True
            row = row_of[column]
        saved = length - distance[searched]
        row_price[start] += length
        row_price[row_of[searched]] += saved
        column_price[searched] -= saved
        while column >= 0:  # everybody on the path moves on by one
            row_of[column] = row_of[before[column]] if before[column] >= 0 else start
            column = before[column]
    return row_of
