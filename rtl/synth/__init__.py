"""From components to Verilog, netlists and reports."""
