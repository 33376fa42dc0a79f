#!/bin/sh
# Makes configure and Makefile.in from a checkout.
cd "$(dirname "$0")" && exec autoreconf --install --force
