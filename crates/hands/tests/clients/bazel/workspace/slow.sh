#!/bin/sh
echo said before the end
exec sleep 1000
