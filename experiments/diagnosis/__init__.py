"""Diagnosis: does the tool name the fault that was planted, and does its prescription gain what it promises?"""
