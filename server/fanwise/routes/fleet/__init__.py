"""All workers behind one engine, in one picture. Without a backplane nothing here is used.

    models     what is said of several workers
    answers    what this worker answers when another one asks
    rows       rows of several workers: read, checked, and put into one order
    lists      `GET /clients`, `GET /channels`, and `DELETE /clients/{id}` of any worker
    figures    `GET /stats?scope=all`, and what `WS /live` sends: counters of several workers are added
    past       `GET /stats/past?scope=all`: points of several workers are added
    samples    `GET /metrics`: the samples of all workers of the host, each with the label `worker`

Other workers may be of another version. What they answer is checked as what strangers send is: an answer that is not
understood makes its worker a silent one.
"""
