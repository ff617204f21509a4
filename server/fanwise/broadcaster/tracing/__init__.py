"""Spans of publications and of their sweeps, for OpenTelemetry. Only what is asked for imports it.

opening     spans for the tracer provider of the application, where there is to be tracing
spans       the span of a publication, and the span of its delivery
deliveries  sweeps that notice when the clients have been given a publication
exporting   a tracer provider for `fanwise serve`, set up by the OTEL_* variables
"""
