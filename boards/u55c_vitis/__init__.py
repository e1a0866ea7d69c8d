"""The Alveo U55C under AMD's Vitis shell: for bring-up and performance; the host reaches HBM."""
