"""Diagnosis: does the tool name the illness that was planted, and does its prescription gain what it promises?"""
